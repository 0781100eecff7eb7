// Norm weights and biases: read once at start, kept as float32.
#ifndef SLUICE_SRC_MODEL_RESIDENT_VECTORS_H_
#define SLUICE_SRC_MODEL_RESIDENT_VECTORS_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "src/model/weight_layout.h"
#include "storage/record_loader.h"

namespace sluice {

class ResidentVectors {
 public:
  static absl::StatusOr<ResidentVectors> Load(const WeightLayout& layout, int layers, RecordLoader* loader);
  static uint64_t Bytes(const WeightLayout& layout);

  // Null when the model has no such vector. Names as in the file, without "blk.N.".
  const float* Find(int layer, absl::string_view name) const;
  // Of the whole model.
  const float* FindGlobal(absl::string_view name) const;

 private:
  std::vector<absl::flat_hash_map<std::string, std::vector<float>>> by_layer_;  // the last one is global
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_RESIDENT_VECTORS_H_
