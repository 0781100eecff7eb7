// Builds a model's keys, one line each.
#ifndef SLUICE_SRC_SYNTH_KEY_LIST_H_
#define SLUICE_SRC_SYNTH_KEY_LIST_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "storage/gguf.h"

namespace sluice {

// Keys that begin with a dot belong to the architecture: ".block_count".
class KeyList {
 public:
  explicit KeyList(absl::string_view arch) : arch_(arch) {}

  void Number(absl::string_view key, int64_t value) {
    Insert(key, {GgufValueType::kU32, static_cast<uint64_t>(value)});
  }
  void Real(absl::string_view key, double value) { Insert(key, {GgufValueType::kF32, value}); }
  void Flag(absl::string_view key, bool value) { Insert(key, {GgufValueType::kBool, value}); }
  void Text(absl::string_view key, absl::string_view value) {
    Insert(key, {GgufValueType::kString, std::string(value)});
  }
  void Texts(absl::string_view key, std::vector<std::string> values) {
    Insert(key, {GgufValueType::kArray, GgufArray{GgufValueType::kString, std::move(values)}});
  }
  void Numbers(absl::string_view key, std::vector<int64_t> values) {
    Insert(key, {GgufValueType::kArray, GgufArray{GgufValueType::kI32, std::move(values)}});
  }

  GgufMetadata Take() { return std::move(metadata_); }

 private:
  void Insert(absl::string_view key, GgufValue value) {
    std::string name = key[0] == '.' ? absl::StrCat(arch_, key) : std::string(key);
    SLUICE_CHECK(metadata_.Insert(std::move(name), std::move(value)));
  }

  const std::string arch_;
  GgufMetadata metadata_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_SYNTH_KEY_LIST_H_
