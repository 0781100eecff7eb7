#include "src/synth/model_shape.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace sluice {
namespace {

constexpr ModelShape kDeepSeekR1 = {.name = "deepseek-r1",
                                    .family = ShapeFamily::kDeepseek2,
                                    .layers = 61,
                                    .dense_layers = 3,
                                    .embedding = 7168,
                                    .vocab = 129280,
                                    .context = 163840,
                                    .heads = 128,
                                    .head_dims = 192,
                                    .rope_dims = 64,
                                    .query_lora = 1536,
                                    .kv_lora = 512,
                                    .value_dims = 128,
                                    .rope_base = 10000,
                                    .yarn_factor = 40,
                                    .dense_ffn = 18432,
                                    .expert_ffn = 2048,
                                    .experts = 256,
                                    .top_k = 8,
                                    .shared = 1,
                                    .groups = 8,
                                    .groups_used = 4,
                                    .weights_scale = 2.5};

constexpr ModelShape kKimiK2 = {.name = "kimi-k2",
                                .family = ShapeFamily::kDeepseek2,
                                .layers = 61,
                                .dense_layers = 1,
                                .embedding = 7168,
                                .vocab = 163840,
                                .context = 131072,
                                .heads = 64,
                                .head_dims = 192,
                                .rope_dims = 64,
                                .query_lora = 1536,
                                .kv_lora = 512,
                                .value_dims = 128,
                                .rope_base = 50000,
                                .yarn_factor = 32,
                                .dense_ffn = 18432,
                                .expert_ffn = 2048,
                                .experts = 384,
                                .top_k = 8,
                                .shared = 1,
                                .weights_scale = 2.827};

constexpr ModelShape kMid = {.name = "mid",
                             .family = ShapeFamily::kDeepseek2,
                             .layers = 20,
                             .dense_layers = 1,
                             .embedding = 2048,
                             .vocab = 32768,
                             .context = 163840,
                             .heads = 32,
                             .head_dims = 192,
                             .rope_dims = 64,
                             .query_lora = 768,
                             .kv_lora = 512,
                             .value_dims = 128,
                             .rope_base = 10000,
                             .yarn_factor = 40,
                             .dense_ffn = 6144,
                             .expert_ffn = 1024,
                             .experts = 64,
                             .top_k = 8,
                             .shared = 1,
                             .groups = 8,
                             .groups_used = 4,
                             .weights_scale = 2.5};

constexpr ModelShape Tiny() {
  ModelShape shape = kMid;
  shape.name = "tiny";
  shape.layers = 6;
  shape.embedding = 1024;
  shape.vocab = 4096;
  shape.heads = 16;
  shape.query_lora = 512;
  shape.dense_ffn = 2048;
  shape.expert_ffn = 512;
  return shape;
}

constexpr ModelShape kGlm46 = {.name = "glm-4.6",
                               .family = ShapeFamily::kGlm4Moe,
                               .layers = 92,
                               .dense_layers = 3,
                               .prediction_layers = 1,
                               .embedding = 5120,
                               .vocab = 151552,
                               .context = 202752,
                               .heads = 96,
                               .kv_heads = 8,
                               .head_dims = 128,
                               .rope_dims = 64,
                               .rope_base = 1000000,
                               .rms_epsilon = 1e-5,
                               .dense_ffn = 12288,
                               .expert_ffn = 1536,
                               .experts = 160,
                               .top_k = 8,
                               .shared = 1,
                               .weights_scale = 2.5};

constexpr ModelShape TinyGlm() {
  ModelShape shape = kGlm46;
  shape.name = "tiny-glm";
  shape.layers = 6;
  shape.dense_layers = 1;
  shape.embedding = 1024;
  shape.vocab = 4096;
  shape.heads = 12;
  shape.kv_heads = 2;
  shape.dense_ffn = 2048;
  shape.expert_ffn = 512;
  shape.experts = 40;
  return shape;
}

constexpr ModelShape kQwen3 = {.name = "qwen3-235b",
                               .family = ShapeFamily::kQwen3Moe,
                               .layers = 94,
                               .embedding = 4096,
                               .vocab = 151936,
                               .context = 40960,
                               .heads = 64,
                               .kv_heads = 4,
                               .head_dims = 128,
                               .rope_dims = 128,
                               .rope_base = 1000000,
                               .dense_ffn = 12288,
                               .expert_ffn = 1536,
                               .experts = 128,
                               .top_k = 8};

constexpr ModelShape TinyQwen() {
  ModelShape shape = kQwen3;
  shape.name = "tiny-qwen3";
  shape.layers = 6;
  shape.embedding = 1024;
  shape.vocab = 4096;
  shape.heads = 8;
  shape.kv_heads = 2;
  shape.dense_ffn = 2048;
  shape.expert_ffn = 512;
  shape.experts = 32;
  return shape;
}

// Rows of 2880 weights are no whole number of blocks of 256.
constexpr ModelShape kGptOss = {.name = "gpt-oss-120b",
                                .family = ShapeFamily::kGptOss,
                                .layers = 36,
                                .embedding = 2880,
                                .vocab = 201088,
                                .context = 131072,
                                .heads = 64,
                                .kv_heads = 8,
                                .head_dims = 64,
                                .rope_dims = 64,
                                .rope_base = 150000,
                                .yarn_factor = 32,
                                .window = 128,
                                .rms_epsilon = 1e-5,
                                .dense_ffn = 2880,
                                .expert_ffn = 2880,
                                .experts = 128,
                                .top_k = 4,
                                .expert_type = TensorType::kMXFP4,
                                .trunk_type = TensorType::kQ8_0};

constexpr ModelShape TinyGptOss() {
  ModelShape shape = kGptOss;
  shape.name = "tiny-gpt-oss";
  shape.layers = 6;
  shape.embedding = 288;
  shape.vocab = 4096;
  shape.heads = 8;
  shape.kv_heads = 2;
  shape.dense_ffn = 288;
  shape.expert_ffn = 288;
  shape.experts = 16;
  return shape;
}

constexpr ModelShape kShapes[] = {kDeepSeekR1, kKimiK2, kGlm46,    kQwen3,     kGptOss,
                                  kMid,        Tiny(),  TinyGlm(), TinyQwen(), TinyGptOss()};

}  // namespace

const ModelShape* FindModelShape(absl::string_view name) {
  for (const ModelShape& shape : kShapes) {
    if (shape.name == name) return &shape;
  }
  return nullptr;
}

std::string ModelShapeNames() {
  return absl::StrJoin(kShapes, ", ",
                       [](std::string* out, const ModelShape& shape) { absl::StrAppend(out, shape.name); });
}

absl::string_view ArchOf(ShapeFamily family) {
  switch (family) {
    case ShapeFamily::kDeepseek2:
      return "deepseek2";
    case ShapeFamily::kGlm4Moe:
      return "glm4moe";
    case ShapeFamily::kQwen3Moe:
      return "qwen3moe";
    case ShapeFamily::kGptOss:
      return "gpt-oss";
  }
  return "";
}

}  // namespace sluice
