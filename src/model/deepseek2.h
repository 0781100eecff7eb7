// DeepSeek V2, V3, R1 and Kimi K2: multi-head latent attention and experts.
//
// Both GGUF dialects: attn_k_b and attn_v_b with *_mla keys, and the older
// attn_kv_b. Formulas: docs/architecture.md names the papers (DeepSeek-V2,
// arXiv 2405.04434; DeepSeek-V3, arXiv 2412.19437).
#ifndef SLUICE_SRC_MODEL_DEEPSEEK2_H_
#define SLUICE_SRC_MODEL_DEEPSEEK2_H_

#include "absl/status/statusor.h"
#include "src/model/model_config.h"
#include "src/model/weight_layout.h"
#include "storage/model_files.h"

namespace sluice {

absl::StatusOr<ModelConfig> ReadDeepseek2Config(const ModelFiles& files);
absl::Status AddDeepseek2Layer(const ModelConfig& config, int layer, WeightLayoutBuilder* layout);

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_DEEPSEEK2_H_
