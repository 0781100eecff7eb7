// The table of model families: one row and one small file each.
//
// A family reads its keys into a ModelConfig and lists the tensors of a layer
// in the order in which a sweep uses them. Nothing else in the program asks
// which architecture it is.
#ifndef SLUICE_SRC_MODEL_MODEL_FAMILY_H_
#define SLUICE_SRC_MODEL_MODEL_FAMILY_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "src/model/model_config.h"
#include "src/model/weight_layout.h"
#include "storage/model_files.h"

namespace sluice {

struct ModelFamily {
  absl::string_view arch;  // general.architecture
  absl::StatusOr<ModelConfig> (*read_config)(const ModelFiles& files);
  // Appends to `layout` what layer `layer` consists of.
  absl::Status (*add_layer)(const ModelConfig& config, int layer, WeightLayoutBuilder* layout);
};

// Null when the architecture is not supported.
const ModelFamily* FindModelFamily(absl::string_view arch);
// "deepseek2, ..." for messages.
std::string SupportedArchitectures();

// The family of a file, or an error that names its architecture and the supported ones.
absl::StatusOr<const ModelFamily*> FamilyOf(const ModelFiles& files);

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MODEL_FAMILY_H_
