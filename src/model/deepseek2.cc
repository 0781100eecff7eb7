#include "src/model/deepseek2.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "src/model/config_reader.h"

namespace sluice {
namespace {

constexpr int64_t kMaxDims = 1 << 20;
// Of all layers; Kimi K2 has 23040. Bounds the directory of records.
constexpr int64_t kMaxExperts = 1 << 20;

void ReadAttention(ConfigReader& keys, ModelConfig& config) {
  config.heads = static_cast<int>(keys.Int("attention.head_count", 1, 65536));
  config.query_lora_rank = keys.IntOr("attention.q_lora_rank", 0, kMaxDims, 0);
  config.kv_lora_rank = keys.Int("attention.kv_lora_rank", 1, kMaxDims);
  config.rope_dims = keys.Int("rope.dimension_count", 2, kMaxDims);
  // In the current dialect key_length describes the latent cache and the head
  // sizes have keys of their own.
  const bool has_mla_keys = keys.Has("attention.key_length_mla");
  config.key_dims = keys.Int(has_mla_keys ? "attention.key_length_mla" : "attention.key_length", 1, kMaxDims);
  config.value_dims = keys.Int(has_mla_keys ? "attention.value_length_mla" : "attention.value_length", 1, kMaxDims);
  keys.Require(config.key_dims > config.rope_dims && config.rope_dims % 2 == 0,
               absl::StrCat("the head size ", config.key_dims, " leaves no room beside ", config.rope_dims,
                            " rotary dimensions, or these are odd"));
}

// The magnitude goes into the score scale. yarn_log_multiplier already holds
// 0.1 x mscale_all_dim: multiplying by 0.1 again flattens attention.
void ReadRope(ConfigReader& keys, ModelConfig& config) {
  config.rope_base = keys.FloatOr("rope.freq_base", 1.0, 1e12, 10000.0);
  double magnitude = 1.0;
  const std::string scaling = keys.StringOr("rope.scaling.type", "none");
  keys.Require(scaling == "none" || scaling == "yarn",
               absl::StrCat("rope.scaling.type \"", scaling, "\" is not supported; supported: none, yarn"));
  if (scaling == "yarn") {
    config.yarn.enabled = true;
    config.yarn.factor = keys.Float("rope.scaling.factor", 1.0, 1e6);
    config.yarn.original_context_length = keys.Float("rope.scaling.original_context_length", 1.0, 1e9);
    config.yarn.beta_fast = keys.FloatOr("rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32.0);
    config.yarn.beta_slow = keys.FloatOr("rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1.0);
    magnitude += keys.FloatOr("rope.scaling.yarn_log_multiplier", -10.0, 10.0, 0.0) * std::log(config.yarn.factor);
  }
  config.score_scale = static_cast<float>(magnitude * magnitude / std::sqrt(static_cast<double>(config.key_dims)));
}

void ReadRouting(ConfigReader& keys, ModelConfig& config) {
  RoutingConfig& routing = config.routing;
  routing.experts = static_cast<int>(keys.Int("expert_count", 1, 65536));
  routing.top_k = static_cast<int>(keys.Int("expert_used_count", 1, routing.experts));
  const int64_t gating = keys.IntOr("expert_gating_func", 0, 255, 1);
  keys.Require(gating <= 2, absl::StrCat("expert_gating_func ", gating, " is neither 1 (softmax) nor 2 (sigmoid)"));
  routing.gating = gating == 2 ? Gating::kSigmoid : Gating::kSoftmax;
  routing.normalize = keys.BoolOr("expert_weights_norm", false);
  routing.scale = static_cast<float>(keys.FloatOr("expert_weights_scale", 0.0, 1e6, 1.0));
  if (routing.scale == 0.0f) routing.scale = 1.0f;  // some writers say 0 for "none"
  // Files of V3 and R1 made before the group keys existed: the published models
  // route in 8 groups of which 4 are used. Kimi K2 (384 experts) has no groups.
  const bool is_v3 = routing.gating == Gating::kSigmoid && routing.experts == 256 && config.embedding == 7168;
  routing.groups = static_cast<int>(keys.IntOr("expert_group_count", 0, routing.experts, is_v3 ? 8 : 1));
  if (routing.groups <= 1) {
    routing.groups = routing.groups_used = 1;
  } else if (is_v3) {
    routing.groups_used = static_cast<int>(keys.IntOr("expert_group_used_count", 1, routing.groups, 4));
  } else {
    routing.groups_used = static_cast<int>(keys.Int("expert_group_used_count", 1, routing.groups));
  }
  keys.Require(routing.experts % routing.groups == 0 && routing.groups_used <= routing.groups &&
                   routing.experts / routing.groups * routing.groups_used >= routing.top_k,
               absl::StrCat(routing.experts, " experts in ", routing.groups, " groups of which ", routing.groups_used,
                            " are used cannot give ", routing.top_k, " experts"));
  keys.Require(int64_t{routing.experts} * config.moe_layers() <= kMaxExperts,
               absl::StrCat(routing.experts, " experts in each of ", config.moe_layers(), " layers are more than the ",
                            kMaxExperts, " in all that are supported"));
}

void ReadFfn(ConfigReader& keys, ModelConfig& config) {
  config.dense_layers = static_cast<int>(keys.IntOr("leading_dense_block_count", 0, config.layers, 0));
  if (config.dense_layers > 0) config.dense_ffn = keys.Int("feed_forward_length", 1, kMaxDims);
  if (config.moe_layers() == 0) return;
  config.expert_ffn = keys.Int("expert_feed_forward_length", 1, kMaxDims);
  config.shared_ffn = config.expert_ffn * keys.IntOr("expert_shared_count", 0, 1024, 0);
  ReadRouting(keys, config);
}

absl::Status AddAttention(const ModelConfig& config, int layer, WeightLayoutBuilder* layout) {
  const int64_t embedding = config.embedding, latent = config.kv_lora_rank;
  RETURN_IF_ERROR(layout->AddVector(layer, "attn_norm.weight", embedding));
  if (config.query_lora_rank > 0) {
    RETURN_IF_ERROR(
        layout->AddMatrix(TrunkOp::kQueryLatent, layer, "attn_q_a.weight", embedding, config.query_lora_rank));
    RETURN_IF_ERROR(layout->AddVector(layer, "attn_q_a_norm.weight", config.query_lora_rank));
  }
  RETURN_IF_ERROR(layout->AddMatrix(TrunkOp::kKvLatent, layer, "attn_kv_a_mqa.weight", embedding, config.kv_width()));
  RETURN_IF_ERROR(layout->AddVector(layer, "attn_kv_a_norm.weight", latent));
  const WeightLayoutBuilder::HeadPart query =
      config.query_lora_rank > 0
          ? WeightLayoutBuilder::HeadPart{"attn_q_b.weight", config.query_lora_rank, config.key_dims}
          : WeightLayoutBuilder::HeadPart{"attn_q.weight", embedding, config.key_dims};
  if (config.split_kv_b) {
    RETURN_IF_ERROR(layout->AddHeads(
        layer, config.heads,
        {query, {"attn_k_b.weight", config.nope_dims(), latent}, {"attn_v_b.weight", latent, config.value_dims}}));
  } else {
    RETURN_IF_ERROR(layout->AddHeads(layer, config.heads,
                                     {query, {"attn_kv_b.weight", latent, config.nope_dims() + config.value_dims}}));
  }
  return layout->AddMatrix(TrunkOp::kAttentionOut, layer, "attn_output.weight", config.heads * config.value_dims,
                           embedding);
}

absl::Status AddMoe(const ModelConfig& config, int layer, WeightLayoutBuilder* layout) {
  const int64_t embedding = config.embedding;
  RETURN_IF_ERROR(layout->AddMatrix(TrunkOp::kRouter, layer, "ffn_gate_inp.weight", embedding, config.routing.experts));
  if (layout->Has(layer, "exp_probs_b.bias")) {
    RETURN_IF_ERROR(layout->AddVector(layer, "exp_probs_b.bias", config.routing.experts));
  }
  if (config.shared_ffn > 0) {
    RETURN_IF_ERROR(layout->AddPair(TrunkOp::kFfnGateUp, layer, "ffn_gate_shexp.weight", "ffn_up_shexp.weight",
                                    embedding, config.shared_ffn));
    RETURN_IF_ERROR(layout->AddMatrix(TrunkOp::kFfnDown, layer, "ffn_down_shexp.weight", config.shared_ffn, embedding));
  }
  return layout->AddExperts(layer);
}

}  // namespace

absl::StatusOr<ModelConfig> ReadDeepseek2Config(const ModelFiles& files) {
  ModelConfig config;
  config.arch = "deepseek2";
  ASSIGN_OR_RETURN(config.name, files.metadata().GetStringOr("general.name", ""));
  ConfigReader keys(files.metadata(), config.arch);
  const int64_t blocks = keys.Int("block_count", 1, 4096);
  config.layers = static_cast<int>(blocks - keys.IntOr("nextn_predict_layers", 0, blocks - 1, 0));
  config.embedding = keys.Int("embedding_length", 1, kMaxDims);
  config.context_length = keys.Int("context_length", 1, int64_t{1} << 30);
  config.rms_epsilon = static_cast<float>(keys.Float("attention.layer_norm_rms_epsilon", 0.0, 1.0));
  ReadAttention(keys, config);
  ReadRope(keys, config);
  ReadFfn(keys, config);
  RETURN_IF_ERROR(keys.status());
  const GgufTensor* embedding = files.FindTensor("token_embd.weight");
  if (embedding == nullptr) return absl::NotFoundError("tensor token_embd.weight is missing from the model file");
  keys.Require(embedding->dims[1] <= std::numeric_limits<int32_t>::max(),
               absl::StrCat("tensor token_embd.weight has ", embedding->dims[1], " rows: token ids have 31 bits"));
  RETURN_IF_ERROR(keys.status());
  config.vocab = static_cast<int64_t>(embedding->dims[1]);
  config.split_kv_b = files.FindTensor("blk.0.attn_k_b.weight") != nullptr;
  return config;
}

absl::Status AddDeepseek2Layer(const ModelConfig& config, int layer, WeightLayoutBuilder* layout) {
  RETURN_IF_ERROR(AddAttention(config, layer, layout));
  RETURN_IF_ERROR(layout->AddVector(layer, "ffn_norm.weight", config.embedding));
  if (config.is_moe(layer)) return AddMoe(config, layer, layout);
  RETURN_IF_ERROR(layout->AddPair(TrunkOp::kFfnGateUp, layer, "ffn_gate.weight", "ffn_up.weight", config.embedding,
                                  config.dense_ffn));
  return layout->AddMatrix(TrunkOp::kFfnDown, layer, "ffn_down.weight", config.dense_ffn, config.embedding);
}

}  // namespace sluice
