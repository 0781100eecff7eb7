// Names of split sets, "PREFIX-00002-of-00003.gguf", and what a folder holds.
#ifndef SLUICE_STORAGE_SPLIT_SET_H_
#define SLUICE_STORAGE_SPLIT_SET_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace sluice {

// One file's place in a set, as its name says; 1 <= number <= count.
struct ShardName {
  std::string prefix;  // with the folder
  uint64_t number = 1;
  uint64_t count = 1;

  // The path of another file of the set.
  std::string PathOf(uint64_t other_number) const;
};

// Nothing when the name is not that of a shard.
absl::optional<ShardName> ParseShardName(absl::string_view path);

// The file to open for the one model (single file or split set) that a folder
// holds. With none or several it refuses and lists what it saw. Hidden files do
// not count, nor do folders within.
absl::StatusOr<std::string> FindModelInFolder(const std::string& folder);

}  // namespace sluice

#endif  // SLUICE_STORAGE_SPLIT_SET_H_
