#include "storage/model_files.h"

#include <filesystem>
#include <memory>
#include <numeric>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "base/status.h"
#include "storage/byte_source.h"
#include "storage/gguf_text.h"
#include "storage/split_set.h"

namespace sluice {

struct ModelFiles::Shard {
  std::string path;
  uint64_t size_bytes = 0;
  GgufHeader header;
  // Keys split.no, split.count and split.tensors.count, where they are there.
  absl::optional<uint64_t> number;
  absl::optional<uint64_t> count;
  absl::optional<uint64_t> total_tensors;

  // A count of 0 is what tools leave behind when they join a set.
  bool IsSplit() const { return count.value_or(1) > 1; }
};

namespace {

absl::Status ReadOptional(const GgufMetadata& metadata, absl::string_view key, absl::optional<uint64_t>* out) {
  if (!metadata.Has(key)) return absl::OkStatus();
  ASSIGN_OR_RETURN(*out, metadata.GetUint(key));
  return absl::OkStatus();
}

std::string Shown(absl::optional<uint64_t> value) { return value.has_value() ? absl::StrCat(*value) : "missing"; }

// Checks split.no and split.count of one file against its name.
absl::Status CheckSplitKeys(absl::string_view path, const ShardName& name, absl::optional<uint64_t> number,
                            absl::optional<uint64_t> count) {
  if (count != name.count) {
    return absl::DataLossError(absl::StrCat(path, ": split.count is ", Shown(count), ", must be ", name.count));
  }
  if (number != name.number - 1) {
    return absl::DataLossError(
        absl::StrCat(path, ": split.no is ", Shown(number), ", must be ", name.number - 1, " as in its name"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelFiles::Shard> ModelFiles::LoadShard(const std::string& path) {
  Shard shard;
  shard.path = path;
  ASSIGN_OR_RETURN(const std::unique_ptr<FileByteSource> source, FileByteSource::Open(path));
  shard.size_bytes = source->size_bytes();
  ASSIGN_OR_RETURN(shard.header, ParseGguf(source.get(), path));
  const GgufMetadata& keys = shard.header.metadata;
  absl::Status status = ReadOptional(keys, "split.no", &shard.number);
  status.Update(ReadOptional(keys, "split.count", &shard.count));
  status.Update(ReadOptional(keys, "split.tensors.count", &shard.total_tensors));
  RETURN_IF_ERROR(WithSubject(path, status));
  return shard;
}

absl::StatusOr<ModelFiles> ModelFiles::Open(const std::string& path) {
  std::error_code ignored;  // a path that cannot be looked at is reported when it is opened
  std::string file = path;
  if (std::filesystem::is_directory(path, ignored)) {
    ASSIGN_OR_RETURN(file, FindModelInFolder(path));
  }
  ASSIGN_OR_RETURN(Shard first, LoadShard(file));
  ModelFiles model;
  model.version_ = first.header.version;
  model.alignment_ = first.header.alignment;
  RETURN_IF_ERROR(model.Append(&first));
  RETURN_IF_ERROR(model.AppendOthers(first));
  RETURN_IF_ERROR(model.CheckTotal(first));
  model.metadata_ = std::move(first.header.metadata);
  return model;
}

absl::Status ModelFiles::AppendOthers(const Shard& first) {
  const absl::optional<ShardName> name = ParseShardName(first.path);
  if (!first.IsSplit() && (!name.has_value() || !first.count.has_value() || name->count == 1)) {
    return absl::OkStatus();
  }
  if (!name.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(first.path, ": split.count is ", *first.count,
                                                      ", but the name does not say which file of a set it is: it must "
                                                      "end in -00001-of-00003.gguf or the like"));
  }
  RETURN_IF_ERROR(CheckSplitKeys(first.path, *name, first.number, first.count));
  if (name->number != 1) {
    return absl::FailedPreconditionError(absl::StrCat(first.path, ": split.no is ", *first.number, ", file ",
                                                      name->number, " of ", name->count, ": open the first, ",
                                                      name->PathOf(1)));
  }
  for (uint64_t number = 2; number <= name->count; ++number) {
    const ShardName other{name->prefix, number, name->count};
    absl::StatusOr<Shard> loaded = LoadShard(other.PathOf(number));
    if (absl::IsNotFound(loaded.status())) {
      return WithSubject(absl::StrCat(first.path, ": split.count is ", name->count), loaded.status());
    }
    ASSIGN_OR_RETURN(Shard shard, std::move(loaded));
    RETURN_IF_ERROR(CheckSplitKeys(shard.path, other, shard.number, shard.count));
    RETURN_IF_ERROR(Append(&shard));
  }
  return absl::OkStatus();
}

absl::Status ModelFiles::Append(Shard* shard) {
  const int file = static_cast<int>(paths_.size());
  paths_.push_back(shard->path);
  file_sizes_.push_back(shard->size_bytes);
  for (GgufTensor& tensor : shard->header.tensors) {
    const auto [found, is_new] = by_name_.emplace(tensor.name, tensors_.size());
    if (!is_new) {
      return absl::DataLossError(absl::StrCat(shard->path, ": tensor ", QuotedName(tensor.name), " is also in ",
                                              paths_[static_cast<size_t>(tensors_[found->second].file)]));
    }
    tensor.file = file;
    tensors_.push_back(std::move(tensor));
  }
  return absl::OkStatus();
}

absl::Status ModelFiles::CheckTotal(const Shard& first) const {
  const bool in_set = first.count.value_or(0) > 0;
  if (!in_set || first.total_tensors.value_or(tensors_.size()) == tensors_.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(first.path, ": split.tensors.count is ", *first.total_tensors, ", but its ",
                                          paths_.size(), " files hold ", tensors_.size(), " tensors"));
}

const GgufTensor* ModelFiles::FindTensor(absl::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

uint64_t ModelFiles::total_bytes() const {
  return std::accumulate(file_sizes_.begin(), file_sizes_.end(), uint64_t{0});
}

}  // namespace sluice
