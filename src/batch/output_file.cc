#include "src/batch/output_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace sluice {
namespace {

constexpr uint64_t kWindowBytes = 1 << 20;
// What a power cut loses, it loses in pieces of at least this.
constexpr uint64_t kSectorBytes = 512;

bool IsJsonObject(absl::string_view line) {
  return !line.empty() && line.front() == '{' && nlohmann::json::accept(line.begin(), line.end());
}

class OutputScan {
 public:
  OutputScan(const DurableFile* file, const std::string& path, const OutputFile::Visit& visit,
             absl::optional<uint64_t> synced_bytes = absl::nullopt)
      : file_(file), path_(path), visit_(visit), synced_bytes_(synced_bytes) {}

  // Returns where the sound lines end; behind that is nothing but a torn tail.
  absl::StatusOr<uint64_t> SoundBytes() {
    uint64_t offset = 0;
    while (offset < file_->size_bytes()) {
      ++number_;
      RETURN_IF_ERROR(TakeLine());
      if (!ended_ || !IsJsonObject(line_)) {
        RETURN_IF_ERROR(CheckTorn(offset));
        return offset;
      }
      RETURN_IF_ERROR(visit_(line_));
      offset += line_.size() + 1;
    }
    return offset;
  }

  absl::Status ShowAll() {
    for (;;) {
      ++number_;
      RETURN_IF_ERROR(TakeLine());
      if (!ended_) return absl::OkStatus();
      if (IsJsonObject(line_)) RETURN_IF_ERROR(visit_(line_));
    }
  }

 private:
  absl::Status TakeLine() {
    line_.clear();
    ended_ = false;
    while (!ended_) {
      if (unread_.empty()) RETURN_IF_ERROR(Refill());
      if (unread_.empty()) break;
      const size_t newline = unread_.find('\n');
      ended_ = newline != absl::string_view::npos;
      const absl::string_view piece = unread_.substr(0, newline);
      line_.append(piece.data(), piece.size());
      unread_.remove_prefix(piece.size() + (ended_ ? 1 : 0));
      if (line_.size() > OutputFile::kLongestLineBytes) return NotAnOutput();
    }
    return absl::OkStatus();
  }

  absl::Status Refill() {
    ASSIGN_OR_RETURN(window_, file_->ReadAt(read_bytes_, kWindowBytes));
    read_bytes_ += window_.size();
    unread_ = window_;
    return absl::OkStatus();
  }

  // Whether the rest from `offset` on, which begins with the line just taken, can
  // be what a crash left of lines that were not synced.
  absl::Status CheckTorn(uint64_t offset) const {
    const uint64_t rest_bytes = file_->size_bytes() - offset;
    if (rest_bytes > OutputFile::kUnsyncedBytes + OutputFile::kLongestLineBytes) return NotAnOutput();
    // Also what of another file lay where new lines should have come, newlines and all.
    if (synced_bytes_.has_value() && offset >= *synced_bytes_) return absl::OkStatus();
    if (offset == 0 && !BeginsAsAnswer()) return NotAnOutput();
    const bool is_last = line_.size() + (ended_ ? 1 : 0) == rest_bytes;
    const bool has_hole = line_.find('\0') != std::string::npos;
    return is_last || has_hole ? absl::OkStatus() : NotAnOutput();
  }

  bool BeginsAsAnswer() const {
    const absl::string_view sector = absl::string_view(line_).substr(0, kSectorBytes);
    return sector.substr(0, 1) == "{" || (!sector.empty() && sector.find_first_not_of('\0') == absl::string_view::npos);
  }

  absl::Status NotAnOutput() const {
    return absl::InvalidArgumentError(absl::StrCat("line ", number_, " of ", path_,
                                                   " is no answer of a batch job and the file is left as it is; give "
                                                   "another -o, or move it away"));
  }

  const DurableFile* file_;
  const std::string& path_;
  const OutputFile::Visit& visit_;
  const absl::optional<uint64_t> synced_bytes_;
  std::string window_;
  absl::string_view unread_;  // of window_
  uint64_t read_bytes_ = 0;
  std::string line_;
  bool ended_ = false;
  uint64_t number_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Open(DurableFiles* files, const std::string& path,
                                                             const Visit& visit,
                                                             absl::optional<uint64_t> synced_bytes) {
  ASSIGN_OR_RETURN(std::unique_ptr<DurableFile> file, files->OpenAppend(path));
  std::unique_ptr<OutputFile> output(new OutputFile(std::move(file)));
  ASSIGN_OR_RETURN(output->sound_bytes_, OutputScan(output->file_.get(), path, visit, synced_bytes).SoundBytes());
  output->cut_bytes_ = output->file_->size_bytes() - output->sound_bytes_;
  if (output->cut_bytes_ > 0) RETURN_IF_ERROR(output->file_->Truncate(output->sound_bytes_));
  RETURN_IF_ERROR(output->Sync());
  return output;
}

absl::Status OutputFile::Read(DurableFiles* files, const std::string& path, const Visit& visit) {
  ASSIGN_OR_RETURN(const std::unique_ptr<const DurableFile> file, files->OpenRead(path));
  return OutputScan(file.get(), path, visit).ShowAll();
}

absl::Status OutputFile::Append(absl::string_view lines) {
  RETURN_IF_ERROR(failed_);
  SLUICE_CHECK(lines.empty() || lines.back() == '\n');
  const uint64_t before_bytes = sound_bytes_;
  if (file_->size_bytes() > before_bytes) RETURN_IF_ERROR(file_->Truncate(before_bytes));
  absl::Status status;
  while (status.ok() && !lines.empty()) {
    const absl::string_view line = lines.substr(0, lines.find('\n') + 1);
    status = AppendLine(line);
    lines.remove_prefix(line.size());
  }
  if (status.ok()) return status;
  sound_bytes_ = before_bytes;
  if (file_->size_bytes() > before_bytes) file_->Truncate(before_bytes).IgnoreError();
  return status;
}

absl::Status OutputFile::AppendLine(absl::string_view line) {
  if (line.size() > kLongestLineBytes) {
    return absl::InvalidArgumentError(absl::StrCat("an answer of ", line.size(), " bytes is longer than the ",
                                                   kLongestLineBytes,
                                                   " that are written; ask for fewer tokens or "
                                                   "logprobs"));
  }
  RETURN_IF_ERROR(file_->Append(line));
  sound_bytes_ = file_->size_bytes();
  return sound_bytes_ > synced_bytes_ + kUnsyncedBytes ? Sync() : absl::OkStatus();
}

absl::Status OutputFile::Sync() {
  RETURN_IF_ERROR(failed_);
  failed_ = file_->Sync();
  if (failed_.ok()) synced_bytes_ = sound_bytes_;
  return failed_;
}

}  // namespace sluice
