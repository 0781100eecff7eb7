// What a model is: the numbers of its architecture, read once and checked.
//
// Filled by the family's reader (src/model/model_family.h) from GGUF keys. All
// sizes are positive and bounded when a reader returns it.
#ifndef SLUICE_SRC_MODEL_MODEL_CONFIG_H_
#define SLUICE_SRC_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <string>

namespace sluice {

struct YarnConfig {
  bool enabled = false;
  double factor = 1.0;
  double original_context_length = 0.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
};

enum class Gating { kSoftmax, kSigmoid };

// How a row chooses its experts.
struct RoutingConfig {
  int experts = 0;
  int top_k = 0;
  Gating gating = Gating::kSoftmax;
  bool normalize = false;  // divide the chosen weights by their sum
  float scale = 1.0f;      // then multiply by this
  int groups = 1;          // more than 1: only experts of the best groups compete
  int groups_used = 1;
};

struct ModelConfig {
  std::string arch;
  std::string name;
  int layers = 0;        // that are run; prediction layers at the end are not
  int dense_layers = 0;  // the first ones, without experts
  int64_t embedding = 0;
  int64_t vocab = 0;
  int64_t context_length = 0;
  float rms_epsilon = 0.0f;

  // Attention.
  int heads = 0;
  int64_t query_lora_rank = 0;  // 0: queries come straight from the row
  int64_t kv_lora_rank = 0;
  int64_t rope_dims = 0;
  int64_t key_dims = 0;     // of one head, rope part included
  int64_t value_dims = 0;   // of one head
  bool split_kv_b = false;  // attn_k_b and attn_v_b instead of attn_kv_b
  double rope_base = 10000.0;
  YarnConfig yarn;
  float score_scale = 0.0f;

  // FFN.
  int64_t dense_ffn = 0;
  int64_t expert_ffn = 0;
  int64_t shared_ffn = 0;  // 0: no shared expert
  RoutingConfig routing;

  int64_t nope_dims() const { return key_dims - rope_dims; }
  // Floats that the cache keeps of one token in one layer.
  int64_t kv_width() const { return kv_lora_rank + rope_dims; }
  int moe_layers() const { return layers - dense_layers; }
  bool is_moe(int layer) const { return layer >= dense_layers; }
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MODEL_CONFIG_H_
