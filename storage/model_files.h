// A model on disk: one GGUF file, a split set, or a folder that holds one set.
//
// Owns the merged keys (of the first shard) and the tensor directory of all
// shards. Opens each file only to read its header.
#ifndef SLUICE_STORAGE_MODEL_FILES_H_
#define SLUICE_STORAGE_MODEL_FILES_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "storage/gguf.h"

namespace sluice {

class ModelFiles {
 public:
  // `path`: a file, the first shard of a set, or a folder with exactly one set.
  static absl::StatusOr<ModelFiles> Open(const std::string& path);

  const GgufMetadata& metadata() const { return metadata_; }
  GgufMetadata& mutable_metadata() { return metadata_; }
  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }
  // All shards' tensors in file order; GgufTensor::file indexes paths().
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* FindTensor(absl::string_view name) const;
  const std::vector<std::string>& paths() const { return paths_; }
  const std::vector<uint64_t>& file_sizes() const { return file_sizes_; }
  uint64_t total_bytes() const;

 private:
  struct Shard;  // one file's header and what its split keys say

  static absl::StatusOr<Shard> LoadShard(const std::string& path);
  // Opens the other files of the set that `first` begins.
  absl::Status AppendOthers(const Shard& first);
  absl::Status Append(Shard* shard);
  absl::Status CheckTotal(const Shard& first) const;

  GgufMetadata metadata_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
  std::vector<GgufTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> by_name_;
  std::vector<std::string> paths_;
  std::vector<uint64_t> file_sizes_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_MODEL_FILES_H_
