// Small deepseek2 files with weights that behave: activations stay near 1.
#ifndef SLUICE_TESTS_SRC_MODEL_TINY_MODEL_H_
#define SLUICE_TESTS_SRC_MODEL_TINY_MODEL_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compute/ops.h"
#include "storage/model_files.h"
#include "tests/storage/gguf_builder.h"
#include "tests/storage/scratch_files.h"

namespace sluice {

// Numbers in [-1, 1) that are the same on every machine.
class TestNumbers {
 public:
  explicit TestNumbers(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}

  uint64_t Bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return state_ >> 33;
  }
  float Next() { return static_cast<float>(Bits() & 0xffffff) / 8388608.0f - 1.0f; }
  uint64_t Below(uint64_t limit) { return Bits() % limit; }
  std::vector<float> Many(int64_t count, float scale = 1.0f) {
    std::vector<float> values(count);
    for (float& value : values) value = scale * Next();
    return values;
  }

 private:
  uint64_t state_;
};

struct TinyShape {
  int layers = 3, dense_layers = 1;
  int embedding = 32, vocab = 50;
  int heads = 5, query_lora = 16, kv_lora = 24, rope = 4, nope = 8, value = 8;
  int dense_ffn = 40, expert_ffn = 16, experts = 9, top_k = 3, shared = 1;
  bool split_kv_b = true;
  bool has_bias = true;  // sigmoid routing with selection bias; else softmax
  bool tied_head = false;
  // Of matrices. With kQ8_0 all widths are multiples of 32; with a type of 256 weights in a block that begins with its
  // scale, too, and those that are no multiple of 256 are kQ8_0.
  TensorType type = TensorType::kF32;
};

// Every width a multiple of 32.
inline TinyShape TinyQ8Shape() {
  TinyShape shape;
  shape.embedding = 64;
  shape.query_lora = shape.kv_lora = shape.nope = shape.value = shape.expert_ffn = 32;
  shape.dense_ffn = 96;
  shape.rope = 6;
  shape.type = TensorType::kQ8_0;
  return shape;
}

// Every width but that of heads a multiple of 256.
inline TinyShape TinyCodebookShape(TensorType type) {
  TinyShape shape;
  shape.embedding = shape.query_lora = shape.kv_lora = shape.dense_ffn = shape.expert_ffn = 256;
  shape.heads = 8;
  shape.nope = shape.value = 32;
  shape.rope = 6;
  shape.type = type;
  return shape;
}

inline std::string EncodedQ8(const std::vector<float>& values) {
  std::string bytes;
  for (size_t begin = 0; begin < values.size(); begin += 32) {
    float largest = 0.0f;
    for (size_t i = begin; i < begin + 32; ++i) largest = std::max(largest, std::fabs(values[i]));
    const uint16_t scale = F32ToF16(largest / 127.0f);
    bytes += Packed(scale);
    for (size_t i = begin; i < begin + 32; ++i) {
      const float code = std::nearbyint(values[i] / F16ToF32(scale));
      bytes += Packed(static_cast<int8_t>(std::clamp(code, -127.0f, 127.0f)));
    }
  }
  return bytes;
}

class TinyModel {
 public:
  explicit TinyModel(const TinyShape& shape) : shape_(shape), numbers_(7), folder_({1}) {
    AddKeys();
    AddMatrix("token_embd.weight", shape.embedding, shape.vocab);
    for (int layer = 0; layer < shape.layers; ++layer) AddLayer("blk." + std::to_string(layer) + ".", layer);
    AddNorm("output_norm.weight", shape.embedding);
    if (!shape.tied_head) AddMatrix("output.weight", shape.embedding, shape.vocab);
    Write();
  }

  const std::string& path() const { return folder_.paths()[0]; }

 private:
  void AddKeys() {
    const TinyShape& s = shape_;
    builder_.Text("general.architecture", "deepseek2");
    for (const auto& [key, value] :
         std::vector<std::pair<std::string, int>>{{"block_count", s.layers},
                                                  {"leading_dense_block_count", s.dense_layers},
                                                  {"embedding_length", s.embedding},
                                                  {"context_length", 4096},
                                                  {"attention.head_count", s.heads},
                                                  {"attention.q_lora_rank", s.query_lora},
                                                  {"attention.kv_lora_rank", s.kv_lora},
                                                  {"rope.dimension_count", s.rope},
                                                  {"attention.key_length", s.nope + s.rope},
                                                  {"attention.value_length", s.value},
                                                  {"feed_forward_length", s.dense_ffn},
                                                  {"expert_feed_forward_length", s.expert_ffn},
                                                  {"expert_shared_count", s.shared},
                                                  {"expert_count", s.experts},
                                                  {"expert_used_count", s.top_k},
                                                  {"expert_gating_func", s.has_bias ? 2 : 1}}) {
      builder_.U32("deepseek2." + key, static_cast<uint32_t>(value));
    }
    builder_.Key("deepseek2.attention.layer_norm_rms_epsilon", GgufValueType::kF32, Packed(1e-6f));
    builder_.Key("deepseek2.expert_weights_norm", GgufValueType::kBool, Packed(uint8_t{1}));
  }

  void AddLayer(const std::string& prefix, int layer) {
    const TinyShape& s = shape_;
    AddNorm(prefix + "attn_norm.weight", s.embedding);
    AddNorm(prefix + "ffn_norm.weight", s.embedding);
    AddNorm(prefix + "attn_kv_a_norm.weight", s.kv_lora);
    AddMatrix(prefix + "attn_kv_a_mqa.weight", s.embedding, s.kv_lora + s.rope);
    if (s.query_lora > 0) {
      AddMatrix(prefix + "attn_q_a.weight", s.embedding, s.query_lora);
      AddNorm(prefix + "attn_q_a_norm.weight", s.query_lora);
      AddMatrix(prefix + "attn_q_b.weight", s.query_lora, s.heads * (s.nope + s.rope));
    } else {
      AddMatrix(prefix + "attn_q.weight", s.embedding, s.heads * (s.nope + s.rope));
    }
    if (s.split_kv_b) {
      AddMatrix(prefix + "attn_k_b.weight", s.nope, s.kv_lora, s.heads);
      AddMatrix(prefix + "attn_v_b.weight", s.kv_lora, s.value, s.heads);
    } else {
      AddMatrix(prefix + "attn_kv_b.weight", s.kv_lora, s.heads * (s.nope + s.value));
    }
    AddMatrix(prefix + "attn_output.weight", s.heads * s.value, s.embedding);
    layer < s.dense_layers ? AddFfn(prefix, "", s.dense_ffn) : AddMoe(prefix);
  }

  void AddFfn(const std::string& prefix, const std::string& suffix, int ffn, int slabs = 1) {
    AddMatrix(prefix + "ffn_gate" + suffix + ".weight", shape_.embedding, ffn, slabs);
    AddMatrix(prefix + "ffn_up" + suffix + ".weight", shape_.embedding, ffn, slabs);
    AddMatrix(prefix + "ffn_down" + suffix + ".weight", ffn, shape_.embedding, slabs);
  }

  void AddMoe(const std::string& prefix) {
    const uint64_t embedding = shape_.embedding, experts = shape_.experts;
    // Wide logits: rows choose different experts.
    AddFloats(prefix + "ffn_gate_inp.weight", {embedding, experts}, numbers_.Many(embedding * experts, 0.5f));
    if (shape_.has_bias) AddFloats(prefix + "exp_probs_b.bias", {experts}, numbers_.Many(experts, 0.2f));
    AddFfn(prefix, "_exps", shape_.expert_ffn, shape_.experts);
    if (shape_.shared > 0) AddFfn(prefix, "_shexp", shape_.expert_ffn * shape_.shared);
  }

  void AddMatrix(const std::string& name, int n_in, int n_out, int slabs = 1) {
    const float scale = std::sqrt(3.0f / static_cast<float>(n_in));
    const std::vector<float> values = numbers_.Many(int64_t{n_in} * n_out * slabs, scale);
    std::vector<uint64_t> dims = {static_cast<uint64_t>(n_in), static_cast<uint64_t>(n_out)};
    if (slabs > 1) dims.push_back(static_cast<uint64_t>(slabs));
    if (shape_.type == TensorType::kF32) {
      AddFloats(name, dims, values);
    } else if (shape_.type == TensorType::kQ8_0 || n_in % 256 != 0) {
      Add(name, dims, TensorType::kQ8_0, EncodedQ8(values));
    } else {
      Add(name, dims, shape_.type, RandomBlocks(values.size() / 256, scale));
    }
  }

  std::string RandomBlocks(size_t count, float scale) {
    std::string bytes;
    for (size_t block = 0; block < count; ++block) {
      const size_t begin = bytes.size();
      bytes += Packed(F32ToF16(0.02f * scale));
      while (bytes.size() < begin + InfoOf(shape_.type).block_bytes) bytes += static_cast<char>(numbers_.Bits());
    }
    return bytes;
  }

  void AddNorm(const std::string& name, int n) {
    std::vector<float> values = numbers_.Many(n, 0.1f);
    for (float& value : values) value += 1.0f;
    AddFloats(name, {static_cast<uint64_t>(n)}, values);
  }

  void AddFloats(const std::string& name, const std::vector<uint64_t>& dims, const std::vector<float>& values) {
    Add(name, dims, TensorType::kF32,
        std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
  }

  void Add(const std::string& name, const std::vector<uint64_t>& dims, TensorType type, const std::string& bytes) {
    data_.resize((data_.size() + 31) / 32 * 32);
    builder_.Info(name, dims, static_cast<uint32_t>(type), data_.size());
    data_ += bytes;
  }

  void Write() {
    std::string file = builder_.Header();
    file.resize((file.size() + 31) / 32 * 32);
    file += data_;
    std::ofstream(path(), std::ios::binary).write(file.data(), static_cast<std::streamsize>(file.size()));
  }

  TinyShape shape_;
  TestNumbers numbers_;
  ScratchFiles folder_;
  GgufBuilder builder_;
  std::string data_;
};

inline ModelFiles OpenModel(const std::string& path) {
  auto files = ModelFiles::Open(path);
  REQUIRE_MESSAGE(files.ok(), files.status().ToString());
  return *std::move(files);
}

}  // namespace sluice

#endif  // SLUICE_TESTS_SRC_MODEL_TINY_MODEL_H_
