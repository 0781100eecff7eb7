// What a file of a model's shape consists of: keys, tensors, and what each
// tensor is filled with.
#ifndef SLUICE_SRC_SYNTH_SYNTH_MODEL_H_
#define SLUICE_SRC_SYNTH_SYNTH_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "src/synth/model_shape.h"
#include "storage/gguf.h"

namespace sluice {

struct SynthOptions {
  ModelShape shape;
  int layers = 0;                          // 0: all of the shape's
  int unique_layers = 2;                   // MoE layers with experts of their own; 0: all
  absl::optional<TensorType> expert_type;  // the shape's
  absl::optional<TensorType> trunk_type;   // the expert type when that is given, else the shape's
  uint64_t seed = 7;
  double skew = 0;  // 0: every expert equally likely, at every token anew
};

enum class SynthFill {
  kOnes,       // norms
  kZeros,      // biases of the choice of experts
  kSmall,      // other biases
  kMatrix,     // random, outputs as large as inputs times `gain`
  kEmbedding,  // see src/synth/skewed_rows.h, as for the next two
  kHead,
  kRouter,
};

struct SynthTensor {
  SynthFill fill = SynthFill::kMatrix;
  double gain = 1;
  int layer = -1;
  // Tensors of one stream hold the same bytes.
  std::string stream;
};

struct SynthModel {
  ModelShape shape;  // with the layers that were asked for
  uint64_t seed = 0;
  double skew = 0;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // without sizes and offsets
  std::vector<SynthTensor> fills;   // of tensors[i]
  static constexpr uint64_t kAlignment = 4096;
};

// Refuses types that do not divide the shape's rows into blocks.
absl::StatusOr<SynthModel> DescribeSynthModel(const SynthOptions& options);

// Part of it: all keys, the tokenizer's included.
GgufMetadata SynthKeys(const ModelShape& shape, TensorType expert_type);

}  // namespace sluice

#endif  // SLUICE_SRC_SYNTH_SYNTH_MODEL_H_
