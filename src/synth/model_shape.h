// The true shapes of giant models, and of small ones for tests.
#ifndef SLUICE_SRC_SYNTH_MODEL_SHAPE_H_
#define SLUICE_SRC_SYNTH_MODEL_SHAPE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/tensor_type.h"

namespace sluice {

// How a family's tensors are named and which it has.
enum class ShapeFamily { kDeepseek2, kGlm4Moe, kQwen3Moe, kGptOss };

// One row of the table: what publishers write in config.json.
struct ModelShape {
  absl::string_view name;
  ShapeFamily family = ShapeFamily::kDeepseek2;
  int layers = 0;
  int dense_layers = 0;       // the first ones
  int prediction_layers = 0;  // behind the others; files hold them, runs skip them
  int64_t embedding = 0;
  int64_t vocab = 0;
  int64_t context = 0;

  int64_t heads = 0;
  int64_t kv_heads = 0;  // of families without a latent
  int64_t head_dims = 0;
  int64_t rope_dims = 0;
  int64_t query_lora = 0;  // deepseek2 alone, down to value_dims
  int64_t kv_lora = 0;
  int64_t value_dims = 0;
  double rope_base = 0;
  double yarn_factor = 0;  // 0: none
  int64_t window = 0;      // of every other layer's attention; gpt-oss alone
  double rms_epsilon = 1e-6;

  int64_t dense_ffn = 0;
  int64_t expert_ffn = 0;
  int64_t experts = 0;
  int64_t top_k = 0;
  int64_t shared = 0;  // shared experts
  int64_t groups = 1;
  int64_t groups_used = 1;
  double weights_scale = 1;

  TensorType expert_type = TensorType::kQ4K;  // unless the user wants another
  TensorType trunk_type = TensorType::kQ4K;

  int blocks() const { return layers + prediction_layers; }
  bool is_moe(int layer) const { return layer >= dense_layers; }
};

// Null when there is none of that name.
const ModelShape* FindModelShape(absl::string_view name);
// "deepseek-r1, ..." for messages.
std::string ModelShapeNames();

// The name that files carry: "deepseek2".
absl::string_view ArchOf(ShapeFamily family);

}  // namespace sluice

#endif  // SLUICE_SRC_SYNTH_MODEL_SHAPE_H_
