// Keys under the names that converters write.
#include <algorithm>
#include <string>
#include <vector>

#include "src/synth/key_list.h"
#include "src/synth/synth_model.h"
#include "src/text/byte_level.h"

namespace sluice {
namespace {

enum TokenKind : int64_t { kNormal = 1, kControl = 3, kUnused = 5 };

// The number that stands for the mix of types in general.file_type.
int64_t FileTypeOf(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return 0;
    case TensorType::kF16:
      return 1;
    case TensorType::kQ4_0:
      return 2;
    case TensorType::kQ4_1:
      return 3;
    case TensorType::kQ8_0:
      return 7;
    case TensorType::kQ5_0:
      return 8;
    case TensorType::kQ5_1:
      return 9;
    case TensorType::kQ2K:
      return 10;
    case TensorType::kQ3K:
      return 12;
    case TensorType::kQ5K:
      return 17;
    case TensorType::kQ6K:
      return 18;
    case TensorType::kMXFP4:
      return 38;
    default:
      return 15;
  }
}

struct SpecialTokens {
  const char* pre_tokenizer;
  const char* begin;
  const char* end;
};

SpecialTokens SpecialTokensOf(ShapeFamily family) {
  switch (family) {
    case ShapeFamily::kDeepseek2:
      return {"deepseek-v3", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"};
    case ShapeFamily::kGlm4Moe:
      return {"glm4", "[gMASK]", "<|endoftext|>"};
    case ShapeFamily::kQwen3Moe:
      return {"qwen2", "<|endoftext|>", "<|im_end|>"};
    case ShapeFamily::kGptOss:
      return {"gpt-4o", "<|startoftext|>", "<|return|>"};
  }
  return {};
}

// Bytes, two merges, and names for the rest: any text can be encoded.
void AddTokenizer(const ModelShape& shape, KeyList* keys) {
  const SpecialTokens special = SpecialTokensOf(shape.family);
  std::vector<std::string> tokens = {special.begin, special.end};
  std::vector<int64_t> kinds = {kControl, kControl};
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(ByteLevelCharacter(static_cast<uint8_t>(byte)));
  tokens.insert(tokens.end(), {"th", "he"});
  kinds.resize(tokens.size(), kNormal);
  for (size_t i = 0; tokens.size() < static_cast<size_t>(shape.vocab); ++i) {
    tokens.push_back(absl::StrCat("<unused", i, ">"));
  }
  kinds.resize(tokens.size(), kUnused);
  keys->Text("tokenizer.ggml.model", "gpt2");
  keys->Text("tokenizer.ggml.pre", special.pre_tokenizer);
  keys->Texts("tokenizer.ggml.tokens", std::move(tokens));
  keys->Numbers("tokenizer.ggml.token_type", std::move(kinds));
  keys->Texts("tokenizer.ggml.merges", {"t h", "h e"});
  keys->Number("tokenizer.ggml.bos_token_id", 0);
  keys->Number("tokenizer.ggml.eos_token_id", 1);
  keys->Number("tokenizer.ggml.padding_token_id", 1);
  keys->Flag("tokenizer.ggml.add_bos_token", true);
}

void AddLatentAttention(const ModelShape& shape, KeyList* keys) {
  keys->Number(".attention.head_count", shape.heads);
  keys->Number(".attention.head_count_kv", 1);
  keys->Number(".attention.q_lora_rank", shape.query_lora);
  keys->Number(".attention.kv_lora_rank", shape.kv_lora);
  keys->Number(".attention.key_length", shape.kv_lora + shape.rope_dims);
  keys->Number(".attention.value_length", shape.kv_lora);
  keys->Number(".attention.key_length_mla", shape.head_dims);
  keys->Number(".attention.value_length_mla", shape.value_dims);
  keys->Number(".vocab_size", shape.vocab);
}

void AddGroupedAttention(const ModelShape& shape, KeyList* keys) {
  keys->Number(".attention.head_count", shape.heads);
  keys->Number(".attention.head_count_kv", shape.kv_heads);
  keys->Number(".attention.key_length", shape.head_dims);
  keys->Number(".attention.value_length", shape.head_dims);
  if (shape.window > 0) keys->Number(".attention.sliding_window", shape.window);
}

void AddRope(const ModelShape& shape, KeyList* keys) {
  keys->Real(".rope.freq_base", shape.rope_base);
  const bool partly = shape.family == ShapeFamily::kDeepseek2 || shape.family == ShapeFamily::kGlm4Moe;
  if (partly) keys->Number(".rope.dimension_count", shape.rope_dims);
  if (shape.yarn_factor == 0) return;
  keys->Text(".rope.scaling.type", "yarn");
  keys->Real(".rope.scaling.factor", shape.yarn_factor);
  keys->Number(".rope.scaling.original_context_length", 4096);
  if (shape.family == ShapeFamily::kDeepseek2) keys->Real(".rope.scaling.yarn_log_multiplier", 0.1);
}

void AddExperts(const ModelShape& shape, KeyList* keys) {
  const bool sigmoid = shape.family == ShapeFamily::kDeepseek2 || shape.family == ShapeFamily::kGlm4Moe;
  keys->Number(".expert_count", shape.experts);
  keys->Number(".expert_used_count", shape.top_k);
  keys->Number(".expert_feed_forward_length", shape.expert_ffn);
  if (!sigmoid) return;  // softmax, nothing shared, no dense layers: the default
  keys->Number(".leading_dense_block_count", shape.dense_layers);
  keys->Number(".expert_shared_count", shape.shared);
  keys->Real(".expert_weights_scale", shape.weights_scale);
  keys->Flag(".expert_weights_norm", true);
  keys->Number(".expert_gating_func", 2);
  if (shape.groups > 1) {
    keys->Number(".expert_group_count", shape.groups);
    keys->Number(".expert_group_used_count", shape.groups_used);
  }
  if (shape.prediction_layers > 0) keys->Number(".nextn_predict_layers", shape.prediction_layers);
}

}  // namespace

GgufMetadata SynthKeys(const ModelShape& shape, TensorType expert_type) {
  KeyList keys(ArchOf(shape.family));
  keys.Text("general.architecture", ArchOf(shape.family));
  keys.Text("general.type", "model");
  keys.Text("general.name", absl::StrCat(shape.name, "-shape-random"));
  keys.Number("general.file_type", FileTypeOf(expert_type));
  keys.Number("general.quantization_version", 2);
  keys.Number("general.alignment", SynthModel::kAlignment);
  keys.Number(".block_count", shape.blocks());
  keys.Number(".context_length", shape.context);
  keys.Number(".embedding_length", shape.embedding);
  keys.Number(".feed_forward_length", shape.dense_ffn);
  keys.Real(".attention.layer_norm_rms_epsilon", shape.rms_epsilon);
  if (shape.family == ShapeFamily::kDeepseek2) {
    AddLatentAttention(shape, &keys);
  } else {
    AddGroupedAttention(shape, &keys);
  }
  AddRope(shape, &keys);
  AddExperts(shape, &keys);
  AddTokenizer(shape, &keys);
  return keys.Take();
}

}  // namespace sluice
