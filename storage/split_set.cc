#include "storage/split_set.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace sluice {
namespace {

constexpr absl::string_view kExtension = ".gguf";
constexpr size_t kNumberDigits = 5;
constexpr size_t kMaxListed = 8;

// Takes `separator` and a five-digit number off the end of `text`.
bool ConsumeNumber(absl::string_view* text, absl::string_view separator, uint64_t* out) {
  if (text->size() < kNumberDigits) return false;
  const absl::string_view digits = text->substr(text->size() - kNumberDigits);
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit)) return false;
  text->remove_suffix(kNumberDigits);
  return absl::SimpleAtoi(digits, out) && absl::ConsumeSuffix(text, separator);
}

// Names of the regular files in a folder, sorted; links are followed.
absl::StatusOr<std::vector<std::string>> ListFiles(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator it(folder, error);
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    std::string name = it->path().filename().string();
    if (name.front() != '.' && it->is_regular_file(ignored)) names.push_back(std::move(name));
  }
  if (error) return absl::FailedPreconditionError(absl::StrCat("cannot list ", folder, ": ", error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

std::string Listed(const std::vector<std::string>& names) {
  if (names.size() <= kMaxListed) return absl::StrJoin(names, ", ");
  const std::vector<std::string> some(names.begin(), names.begin() + kMaxListed);
  return absl::StrCat(absl::StrJoin(some, ", "), " and ", names.size() - kMaxListed, " more");
}

// The name of the file to open for the model that `name` is a part of.
std::string FirstOfSet(const std::string& name) {
  const absl::optional<ShardName> shard = ParseShardName(name);
  return shard.has_value() ? shard->PathOf(1) : name;
}

}  // namespace

std::string ShardName::PathOf(uint64_t other_number) const {
  return absl::StrFormat("%s-%05d-of-%05d%s", prefix, other_number, count, kExtension);
}

absl::optional<ShardName> ParseShardName(absl::string_view path) {
  ShardName shard;
  if (!absl::ConsumeSuffix(&path, kExtension)) return absl::nullopt;
  if (!ConsumeNumber(&path, "-of-", &shard.count)) return absl::nullopt;
  if (!ConsumeNumber(&path, "-", &shard.number)) return absl::nullopt;
  if (shard.number < 1 || shard.number > shard.count) return absl::nullopt;
  shard.prefix = std::string(path);
  return shard;
}

absl::StatusOr<std::string> FindModelInFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFiles(folder));
  std::set<std::string> models;
  for (const std::string& name : names) {
    if (absl::EndsWith(name, kExtension)) models.insert(FirstOfSet(name));
  }
  if (models.size() == 1) return (std::filesystem::path(folder) / *models.begin()).string();
  if (models.empty()) {
    const std::string seen = names.empty() ? "it has no files" : absl::StrCat("it has ", Listed(names));
    return absl::NotFoundError(absl::StrCat("no .gguf file in folder ", folder, ": ", seen));
  }
  const std::vector<std::string> list(models.begin(), models.end());
  return absl::FailedPreconditionError(
      absl::StrCat("folder ", folder, " holds ", list.size(), " models, name one of them: ", Listed(list)));
}

}  // namespace sluice
