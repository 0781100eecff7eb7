#include "src/cli/inputs.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

constexpr size_t kReadBytes = 64 << 10;

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

absl::Status FileError(absl::string_view what, const std::string& path) {
  return absl::NotFoundError(absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

absl::StatusOr<std::string> ReadAll(std::FILE* file, const std::string& path) {
  std::string text;
  for (;;) {
    const size_t before = text.size();
    text.resize(before + kReadBytes);
    text.resize(before + std::fread(text.data() + before, 1, kReadBytes, file));
    if (std::ferror(file) != 0) return FileError("read", path);
    if (std::feof(file) != 0) return text;
  }
}

bool IsTokenId(const nlohmann::json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(INT32_MAX);
}

bool AppendTokenList(const nlohmann::json& list, std::vector<std::vector<int32_t>>* lists) {
  if (!list.is_array() || list.empty()) return false;
  std::vector<int32_t>& tokens = lists->emplace_back();
  tokens.reserve(list.size());
  for (const nlohmann::json& token : list) {
    if (!IsTokenId(token)) return false;
    tokens.push_back(token.get<int32_t>());
  }
  return true;
}

}  // namespace

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && absl::ascii_isdigit(text[digits])) ++digits;
  uint64_t value = 0;
  const bool has_number = absl::SimpleAtoi(text.substr(0, digits), &value);
  std::string unit = absl::AsciiStrToUpper(text.substr(digits));
  if (unit.size() == 3 && absl::EndsWith(unit, "IB")) unit.resize(1);
  const std::pair<absl::string_view, int> units[] = {{"", 0}, {"B", 0}, {"K", 10}, {"M", 20}, {"G", 30}, {"T", 40}};
  for (const auto& [name, shift] : units) {
    if (has_number && value > 0 && unit == name && value <= (uint64_t{1} << 50) >> shift) return value << shift;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not a size; write a number with K, M or G, e.g. 512M or 16G"));
}

absl::StatusOr<double> ParseDeadline(absl::string_view text, int now_hour, int now_minute, int now_second) {
  const absl::Status refused = absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is no deadline; give a length such as 8h, 90m or 45s, or a time such as 07:30"));
  const std::pair<absl::string_view, absl::string_view> clock = absl::StrSplit(text, absl::MaxSplits(':', 1));
  int hour = 0, minute = 0;
  if (text.find(':') != absl::string_view::npos) {
    if (!absl::SimpleAtoi(clock.first, &hour) || !absl::SimpleAtoi(clock.second, &minute)) return refused;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return refused;
    const int seconds = ((hour - now_hour) * 60 + minute - now_minute) * 60 - now_second;
    return static_cast<double>(seconds > 0 ? seconds : seconds + 24 * 3600);
  }
  double amount = 0;
  const double unit = absl::EndsWith(text, "h") ? 3600 : absl::EndsWith(text, "m") ? 60 : absl::EndsWith(text, "s");
  if (unit == 0 || !absl::SimpleAtod(text.substr(0, text.size() - 1), &amount)) return refused;
  if (!(amount > 0 && amount * unit <= 366.0 * 24 * 3600)) return refused;
  return amount * unit;
}

absl::StatusOr<std::vector<int32_t>> ParseTokenList(absl::string_view text) {
  std::vector<int32_t> tokens;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    int32_t token = 0;
    if (!absl::SimpleAtoi(part, &token)) {
      return absl::InvalidArgumentError(absl::StrCat("\"", part, "\" is not a token id; write --tokens 1,2,3"));
    }
    tokens.push_back(token);
  }
  return tokens;
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  if (path == "-") return ReadAll(stdin, "standard input");
  const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) return FileError("open", path);
  return ReadAll(file.get(), path);
}

absl::StatusOr<std::vector<std::vector<int32_t>>> ReadTokenLists(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const absl::Status malformed =
      absl::DataLossError(absl::StrCat(path, " is not a JSON list of token id lists, e.g. [[1, 2], [3]]"));
  if (!json.is_array()) return malformed;
  std::vector<std::vector<int32_t>> lists;
  for (const nlohmann::json& list : json) {
    if (!AppendTokenList(list, &lists)) return malformed;
  }
  return lists;
}

}  // namespace sluice
