// Multi-head latent attention in its absorbed form (DeepSeek-V2, arXiv 2405.04434).
//
// Per token and layer the cache holds one latent (kv_lora_rank floats, after
// its norm) and one rotated key part shared by all heads. A head's query is
// multiplied into the latent space once, attends there, and only the result is
// turned into values:
//   q' = Kb^T q_nope;  score = scale (q' . c + q_rope . k_rope);
//   o' = sum p c;      head output = Vb o'
// The two projections into latent spaces take activations of twice the
// precision (fine_linear.h): scores sharpen their errors, and they are 2.5 % of
// DeepSeek-R1's products. It lowers the median KL divergence from the float path
// by a third (docs/experiments.md).
// Keys are cut into blocks at absolute positions and combined in ascending
// order, so a row's bits depend on its position and its keys alone.
#ifndef SLUICE_SRC_MODEL_MLA_ATTENTION_H_
#define SLUICE_SRC_MODEL_MLA_ATTENTION_H_

#include <cstdint>

#include "absl/status/status.h"
#include "base/arena.h"
#include "src/model/activation_rows.h"
#include "src/model/fine_linear.h"
#include "src/model/kv_cache.h"
#include "src/model/linear.h"
#include "src/model/model_config.h"
#include "src/model/resident_vectors.h"
#include "src/model/sweep.h"
#include "src/model/trunk.h"

namespace sluice {

class MlaAttention {
 public:
  MlaAttention(Arena* arena, const ModelConfig& config, const WeightLayout& layout, Linear* linear, int64_t max_rows);

  // Attends for all rows of the sweep. `normed` are the rows after the layer's
  // norm; writes the layer's cache rows and the heads' outputs, before the
  // output projection, to `out`.
  absl::Status Run(int layer, const Sweep& sweep, const ResidentVectors& vectors, Trunk* trunk, KvCache* cache,
                   ActivationRows* normed, ActivationRows* out);

 private:
  // A run of heads on a block of rows.
  struct Block {
    int layer;
    const Sweep* sweep;
    const KvCache* cache;
    const Trunk* trunk;
    int64_t row_begin, rows;
    int64_t head_begin, heads;
    ActivationRows* out;
  };

  absl::Status QueryLatents(int layer, const Sweep& sweep, const ResidentVectors& vectors, Trunk* trunk,
                            const ActivationRows& normed, const InputRows& in);
  absl::Status WriteKeys(int layer, const Sweep& sweep, const ResidentVectors& vectors, Trunk* trunk, KvCache* cache,
                         const ActivationRows& normed, const InputRows& in);
  void Heads(const Block& block, const InputRows& queries_in);
  void Absorb(const Block& block, int64_t head, int thread);
  void AbsorbTransposed(const Block& block, int64_t head, int thread);
  void Attend(const Block& block, int64_t head_begin, int64_t head_end, int thread);
  void AttendRun(const Block& block, const SequenceRun& run, int64_t head_begin, int64_t head_end, int thread);
  void AttendKeys(const float* keys, int64_t count, bool first, float* scores, int64_t row, int64_t head);
  void Values(const Block& block, int64_t head, int thread);
  // Quantises `rows` vectors for a product with `type` into the thread's scratch.
  const void* const* Quantized(TensorType type, const float* const* rows, int64_t count, int64_t width, int thread);

  float* Query(int64_t row, int64_t head) { return queries_ + row * query_stride_ + head * config_.key_dims; }
  float* Absorbed(int64_t row, int64_t head) { return absorbed_ + (row * max_heads_ + head) * config_.kv_width(); }
  float* Latent(int64_t row, int64_t head) { return latents_ + (row * max_heads_ + head) * config_.kv_lora_rank; }
  // Where the V part's rows of `head` begin in the step, and the matrix of one head.
  Matrix HeadMatrix(const Block& block, size_t slice, int64_t head, int64_t first_row, int64_t rows) const;

  const ModelConfig& config_;
  Linear* linear_;
  FineLinear fine_;
  int64_t block_rows_;
  int64_t max_heads_;
  int64_t query_stride_;
  ActivationRows query_latents_;
  float* kv_rows_;  // [max_rows][kv_width]
  float** kv_pointers_;
  float* queries_;  // [block_rows][heads * key_dims]
  float** query_pointers_;
  float* absorbed_;  // [block_rows][heads][kv_width]
  float* latents_;   // [block_rows][heads][kv_lora_rank]
  float* maxima_;    // [block_rows][heads]
  float* sums_;
  float* keys_;    // [threads][kKeyBlock][kv_width]
  float* scores_;  // [threads][kKeyBlock]
  int64_t quantized_bytes_;
  uint8_t* quantized_;  // [threads][block_rows] activation rows
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MLA_ATTENTION_H_
