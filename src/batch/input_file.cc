#include "src/batch/input_file.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/check.h"
#include "base/status.h"
#include "base/xxh3_stream.h"

namespace sluice {
namespace {

constexpr uint64_t kReadBytes = 256 << 10;
constexpr absl::string_view kByteOrderMark = "\xEF\xBB\xBF";

uint32_t CheckOf(absl::string_view line) { return static_cast<uint32_t>(XXH3_64bits(line.data(), line.size())); }

bool IsBlank(absl::string_view line) {
  return std::all_of(line.begin(), line.end(), [](char c) { return absl::ascii_isspace(static_cast<uint8_t>(c)); });
}

// Says what to do where the file is there but cannot be read twice.
absl::Status CheckKind(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  const bool is_pipe = path == "-" || (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
                                       !std::filesystem::is_directory(status));
  if (!is_pipe) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("cannot take the requests from ", path == "-" ? "standard input" : path,
                   ": lines are read again when their turn comes and on resume; write them to a file first"));
}

}  // namespace

// Cuts bytes that come in pieces into lines.
class InputFile::Scanner {
 public:
  Scanner(const std::string& path, const std::function<absl::Status(size_t, absl::string_view)>& visit,
          std::vector<Line>* lines)
      : path_(path), visit_(visit), lines_(*lines) {}

  absl::Status Feed(absl::string_view bytes) {
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      Hold(bytes.substr(0, end));
      if (end == absl::string_view::npos) break;
      bytes.remove_prefix(end + 1);
      RETURN_IF_ERROR(EndLine());
    }
    return absl::OkStatus();
  }

  absl::Status Finish() { return length_ > 0 ? EndLine() : absl::OkStatus(); }

 private:
  // Room for a line of the longest kind, the byte order mark and the \r around it.
  static constexpr uint64_t kMostHeldBytes = kLongestLineBytes + 4;

  void Hold(absl::string_view part) {
    length_ += part.size();
    if (length_ <= kMostHeldBytes) {
      held_.append(part.data(), part.size());
    } else {
      std::string().swap(held_);
    }
  }

  absl::Status EndLine() {
    Line line = {offset_, number_++, 0, 0};
    absl::string_view text = held_;
    if (offset_ == 0 && absl::ConsumePrefix(&text, kByteOrderMark)) line.offset += kByteOrderMark.size();
    absl::ConsumeSuffix(&text, "\r");
    const bool is_too_long = length_ > kMostHeldBytes || text.size() > kLongestLineBytes;
    if (is_too_long) text = {};
    const absl::Status status = !is_too_long && IsBlank(text) ? absl::OkStatus() : Add(line, text);
    offset_ += length_ + 1;
    length_ = 0;
    held_.clear();
    return status;
  }

  absl::Status Add(Line line, absl::string_view text) {
    if (lines_.size() == kMostLines) {
      return absl::FailedPreconditionError(
          absl::StrCat(path_, " has more than ", kMostLines, " requests; split it into several jobs"));
    }
    line.length = static_cast<uint32_t>(text.size());
    line.check = CheckOf(text);
    lines_.push_back(line);
    return visit_(lines_.size() - 1, text);
  }

  const std::string& path_;
  const std::function<absl::Status(size_t, absl::string_view)>& visit_;
  std::vector<Line>& lines_;
  uint64_t offset_ = 0;  // of the line at hand
  uint64_t length_ = 0;  // of what has come of it
  uint64_t number_ = 1;
  std::string held_;  // what has come of it, unless it is too long
};

absl::StatusOr<InputFile> InputFile::Open(
    const std::string& path, const std::function<absl::Status(size_t index, absl::string_view line)>& visit) {
  RETURN_IF_ERROR(CheckKind(path));
  ASSIGN_OR_RETURN(std::unique_ptr<FileByteSource> source, FileByteSource::Open(path));
  InputFile file(path, std::move(source));
  Scanner scanner(path, visit, &file.lines_);
  Xxh3Stream hash;
  std::string bytes;
  for (uint64_t offset = 0; offset < file.size_bytes(); offset += bytes.size()) {
    bytes.resize(std::min(kReadBytes, file.size_bytes() - offset));
    RETURN_IF_ERROR(file.source_->Read(offset, bytes.size(), bytes.data()));
    hash.Add(bytes.data(), bytes.size());
    RETURN_IF_ERROR(scanner.Feed(bytes));
  }
  RETURN_IF_ERROR(scanner.Finish());
  file.fingerprint_ = hash.digest();
  file.lines_.shrink_to_fit();
  return file;
}

absl::optional<size_t> InputFile::Find(uint64_t number) const {
  const auto is_before = [](const Line& line, uint64_t wanted) { return line.number < wanted; };
  const auto found = std::lower_bound(lines_.begin(), lines_.end(), number, is_before);
  if (found == lines_.end() || found->number != number) return absl::nullopt;
  return static_cast<size_t>(found - lines_.begin());
}

absl::StatusOr<std::string> InputFile::Read(size_t index) const {
  SLUICE_CHECK(index < lines_.size());
  const Line& line = lines_[index];
  std::string text(line.length, '\0');
  const absl::Status status = source_->Read(line.offset, text.size(), text.data());
  if (!status.ok()) return absl::FailedPreconditionError(status.message());
  if (CheckOf(text) != line.check) {
    return absl::FailedPreconditionError(absl::StrCat(path_, " has changed since the job began, at line ", line.number,
                                                      "; restore it, or begin a job of its own"));
  }
  return text;
}

}  // namespace sluice
