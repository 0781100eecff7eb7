#include "src/synth/synth_model.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace sluice {
namespace {

using Dims = std::initializer_list<int64_t>;

// Lists tensors under the names that converters write, in their order.
class TensorLister {
 public:
  TensorLister(TensorType expert_type, TensorType trunk_type, int unique_layers, SynthModel* model)
      : shape_(model->shape),
        expert_type_(expert_type),
        trunk_type_(trunk_type),
        unique_layers_(unique_layers),
        residual_gain_(1 / std::sqrt(2.0 * shape_.layers)),
        model_(model) {}

  absl::Status List() {
    // The embedding and the head are kept finer than the rest, as quantisers do.
    const bool coarse = InfoOf(trunk_type_).block_elements == 256;
    const TensorType edge = coarse ? TensorType::kQ6K : trunk_type_;
    Trunk("token_embd.weight", {shape_.embedding, shape_.vocab}, edge, SynthFill::kEmbedding);
    Vector("output_norm.weight", shape_.embedding, SynthFill::kOnes);
    Trunk("output.weight", {shape_.embedding, shape_.vocab}, edge, SynthFill::kHead);
    for (layer_ = 0; layer_ < shape_.blocks(); ++layer_) Layer();
    return refusal_;
  }

 private:
  void Add(absl::string_view name, Dims dims, TensorType type, SynthTensor fill) {
    GgufTensor tensor;
    tensor.name = layer_ < 0 ? std::string(name) : absl::StrCat("blk.", layer_, ".", name);
    tensor.type = type;
    for (int64_t dim : dims) tensor.dims[tensor.n_dims++] = static_cast<uint64_t>(dim);
    fill.layer = layer_;
    if (fill.stream.empty()) fill.stream = tensor.name;
    model_->tensors.push_back(std::move(tensor));
    model_->fills.push_back(std::move(fill));
  }
  // Of a type that the row's length allows: quantisers fall back in the same way.
  void Trunk(absl::string_view name, Dims dims, TensorType type, SynthFill fill, double gain = 1) {
    const int64_t row = *dims.begin();
    if (row % InfoOf(type).block_elements != 0) type = row % 32 == 0 ? TensorType::kQ8_0 : TensorType::kF16;
    Add(name, dims, type, {fill, gain, -1, ""});
  }
  void Matrix(absl::string_view name, int64_t n_in, int64_t n_out, double gain = 1) {
    Trunk(name, {n_in, n_out}, trunk_type_, SynthFill::kMatrix, gain);
  }
  void Vector(absl::string_view name, int64_t elements, SynthFill fill) {
    Add(name, {elements}, TensorType::kF32, {fill, 1, -1, ""});
  }

  void Experts(absl::string_view part, int64_t n_in, int64_t n_out, double gain) {
    const TensorTypeInfo& info = InfoOf(expert_type_);
    if (n_in % info.block_elements != 0) {
      refusal_ = absl::InvalidArgumentError(
          absl::StrCat("the experts of ", shape_.name, " have rows of ", n_in, " weights: no whole number of the ",
                       info.block_elements, " in a block of ", info.name, "; give --quant mxfp4, q8_0 or q4_0"));
      return;
    }
    const int moe_layer = layer_ - shape_.dense_layers;
    const int stream = unique_layers_ > 0 ? moe_layer % unique_layers_ : moe_layer;
    const std::string name = absl::StrCat("ffn_", part, "_exps.weight");
    Add(name, {n_in, n_out, shape_.experts}, expert_type_,
        {SynthFill::kMatrix, gain, -1, absl::StrCat("experts.", stream, ".", name)});
  }

  void Layer() {
    Vector("attn_norm.weight", shape_.embedding, SynthFill::kOnes);
    const bool after = shape_.family == ShapeFamily::kGlm4Moe || shape_.family == ShapeFamily::kGptOss;
    Vector(after ? "post_attention_norm.weight" : "ffn_norm.weight", shape_.embedding, SynthFill::kOnes);
    if (shape_.family == ShapeFamily::kDeepseek2) {
      LatentAttention();
    } else {
      GroupedAttention();
    }
    if (!shape_.is_moe(layer_)) return Gated("", shape_.dense_ffn);
    Moe();
    if (layer_ >= shape_.layers) Prediction();
  }

  void LatentAttention() {
    const ModelShape& s = shape_;
    Matrix("attn_q_a.weight", s.embedding, s.query_lora);
    Vector("attn_q_a_norm.weight", s.query_lora, SynthFill::kOnes);
    Matrix("attn_q_b.weight", s.query_lora, s.heads * s.head_dims);
    // The latent is what everything hangs on; quantisers leave it at 8 bits.
    Trunk("attn_kv_a_mqa.weight", {s.embedding, s.kv_lora + s.rope_dims}, TensorType::kQ8_0, SynthFill::kMatrix);
    Vector("attn_kv_a_norm.weight", s.kv_lora, SynthFill::kOnes);
    const int64_t plain_dims = s.head_dims - s.rope_dims;
    Trunk("attn_k_b.weight", {plain_dims, s.kv_lora, s.heads}, TensorType::kQ8_0, SynthFill::kMatrix);
    Trunk("attn_v_b.weight", {s.kv_lora, s.value_dims, s.heads}, TensorType::kQ8_0, SynthFill::kMatrix);
    Matrix("attn_output.weight", s.heads * s.value_dims, s.embedding, residual_gain_);
  }

  void GroupedAttention() {
    const ModelShape& s = shape_;
    const bool gpt_oss = s.family == ShapeFamily::kGptOss;
    const bool biased = gpt_oss || s.family == ShapeFamily::kGlm4Moe;
    const std::pair<const char*, int64_t> parts[] = {{"q", s.heads}, {"k", s.kv_heads}, {"v", s.kv_heads}};
    for (const auto& [part, heads] : parts) {
      Matrix(absl::StrCat("attn_", part, ".weight"), s.embedding, heads * s.head_dims);
      if (biased) Vector(absl::StrCat("attn_", part, ".bias"), heads * s.head_dims, SynthFill::kSmall);
    }
    Matrix("attn_output.weight", s.heads * s.head_dims, s.embedding, residual_gain_);
    if (gpt_oss) {
      Vector("attn_output.bias", s.embedding, SynthFill::kSmall);
      Vector("attn_sinks.weight", s.heads, SynthFill::kSmall);
    } else {
      Vector("attn_q_norm.weight", s.head_dims, SynthFill::kOnes);
      Vector("attn_k_norm.weight", s.head_dims, SynthFill::kOnes);
    }
  }

  void Gated(absl::string_view suffix, int64_t ffn) {
    Matrix(absl::StrCat("ffn_gate", suffix, ".weight"), shape_.embedding, ffn);
    Matrix(absl::StrCat("ffn_up", suffix, ".weight"), shape_.embedding, ffn);
    Matrix(absl::StrCat("ffn_down", suffix, ".weight"), ffn, shape_.embedding, residual_gain_);
  }

  void Moe() {
    const ModelShape& s = shape_;
    Add("ffn_gate_inp.weight", {s.embedding, s.experts}, TensorType::kF32, {SynthFill::kRouter, 1, -1, ""});
    const bool gpt_oss = s.family == ShapeFamily::kGptOss;
    if (gpt_oss) Vector("ffn_gate_inp.bias", s.experts, SynthFill::kZeros);
    if (s.family == ShapeFamily::kDeepseek2 || s.family == ShapeFamily::kGlm4Moe) {
      Vector("exp_probs_b.bias", s.experts, SynthFill::kZeros);
    }
    Experts("gate", s.embedding, s.expert_ffn, 1);
    if (gpt_oss) ExpertBias("gate", s.expert_ffn);
    Experts("up", s.embedding, s.expert_ffn, 1);
    if (gpt_oss) ExpertBias("up", s.expert_ffn);
    Experts("down", s.expert_ffn, s.embedding, residual_gain_);
    if (gpt_oss) ExpertBias("down", s.embedding);
    if (s.shared > 0) Gated("_shexp", s.expert_ffn * s.shared);
  }
  void ExpertBias(absl::string_view part, int64_t n_out) {
    Add(absl::StrCat("ffn_", part, "_exps.bias"), {n_out, shape_.experts}, TensorType::kF32,
        {SynthFill::kSmall, 1, -1, ""});
  }

  void Prediction() {
    Matrix("nextn.eh_proj.weight", 2 * shape_.embedding, shape_.embedding);
    for (const char* name : {"nextn.enorm.weight", "nextn.hnorm.weight", "nextn.shared_head_norm.weight"}) {
      Vector(name, shape_.embedding, SynthFill::kOnes);
    }
  }

  const ModelShape& shape_;
  const TensorType expert_type_;
  const TensorType trunk_type_;
  const int unique_layers_;
  // Of what is added to the residual: all layers together stay as large as the
  // embedding they are added to.
  const double residual_gain_;
  SynthModel* const model_;
  int layer_ = -1;
  absl::Status refusal_;
};

}  // namespace

absl::StatusOr<SynthModel> DescribeSynthModel(const SynthOptions& options) {
  SynthModel model;
  model.shape = options.shape;
  model.seed = options.seed;
  model.skew = options.skew;
  ModelShape& shape = model.shape;
  if (options.layers > shape.layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("--layers ", options.layers, ": ", shape.name, " has ", shape.layers, " layers"));
  }
  if (options.layers > 0) {
    shape.layers = options.layers;
    shape.dense_layers = std::min(shape.dense_layers, shape.layers);
    shape.prediction_layers = 0;
  }
  const TensorType expert_type = options.expert_type.value_or(shape.expert_type);
  const TensorType trunk_type = options.trunk_type.value_or(options.expert_type.value_or(shape.trunk_type));
  model.metadata = SynthKeys(shape, expert_type);
  RETURN_IF_ERROR(TensorLister(expert_type, trunk_type, options.unique_layers, &model).List());
  return model;
}

}  // namespace sluice
