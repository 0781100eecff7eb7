// The absorbed form of latent attention, for rows of generated tokens
// (src/model/mla_heads.h): all heads of a row share the latents they look at.
#ifndef SLUICE_SRC_MODEL_MLA_ABSORBED_H_
#define SLUICE_SRC_MODEL_MLA_ABSORBED_H_

#include <cstdint>

#include "base/arena.h"
#include "src/model/head_product.h"
#include "src/model/linear.h"
#include "src/model/mla_heads.h"
#include "src/model/model_config.h"

namespace sluice {

class MlaAbsorbed {
 public:
  // For steps of at most `max_heads` heads; more than a fixed number of rows are taken in blocks.
  MlaAbsorbed(Arena* arena, const ModelConfig& config, Linear* linear, int64_t max_rows, int64_t max_heads);

  // `queries_in` are the inputs of the query matrix for the rows of `heads`.
  void Run(const MlaHeads& heads, const InputRows& queries_in);

 private:
  void RunBlock(const MlaHeads& heads, const InputRows& queries_in);
  void Absorb(const MlaHeads& heads, int64_t head, int thread);
  void AbsorbTransposed(const MlaHeads& heads, int64_t head, int thread);
  void RotateQueries(const MlaHeads& heads, int64_t head);
  // The scaled queries of `count` heads as [kv_width][columns], idle columns 0.
  void TransposeQueries(int64_t row, int64_t head_begin, int64_t count, float* out);
  void Attend(const MlaHeads& heads, int64_t row, int64_t head_begin, int64_t count, int thread);
  void Values(const MlaHeads& heads, int64_t head, int thread);

  float* Query(int64_t row, int64_t head) { return queries_ + row * query_stride_ + head * config_.key_dims; }
  float* Absorbed(int64_t row, int64_t head) { return absorbed_ + (row * max_heads_ + head) * config_.kv_width(); }
  float* Latent(int64_t row, int64_t head) { return latents_ + (row * max_heads_ + head) * config_.kv_lora_rank; }

  const ModelConfig& config_;
  Linear* linear_;
  HeadProduct product_;
  int64_t block_rows_;
  int64_t max_heads_;
  int64_t query_stride_;
  float* queries_;  // [block_rows][heads * key_dims]
  float** query_pointers_;
  float* absorbed_;    // [block_rows][heads][kv_width]
  float* latents_;     // [block_rows][heads][kv_lora_rank]
  float* keys_;        // [threads][kKeyBlock][kv_width]
  float* transposed_;  // [threads][kv_width][columns]: scaled queries
  float* scores_;      // [threads][kKeyBlock][columns]
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MLA_ABSORBED_H_
