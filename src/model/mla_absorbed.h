// The absorbed form of latent attention, for rows of generated tokens
// (src/model/mla_heads.h): all heads of a row share the latents they look at.
//
// A row goes through its keys span by span, and through a span in three passes:
// scores by keys, the softmax by heads, sums by parts of the latent. Each is cut
// into parts that any thread may take, without a change of the order in which any
// number is summed. Memory does not grow with context.
#ifndef SLUICE_SRC_MODEL_MLA_ABSORBED_H_
#define SLUICE_SRC_MODEL_MLA_ABSORBED_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/arena.h"
#include "base/checked_math.h"
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
  // Heads are lanes; idle ones are padded, because ragged products are several times slower.
  static constexpr int64_t kColumnVector = 16;

  // One thread's memory; what belongs to a row serves all threads where they share it.
  struct Scratch {
    float* widened;  // a piece of the cache
    float* key;      // [kv_lora_rank]
    float* partial;  // [heads][a part of the latent]
    // Of a row; columns are heads and idle ones up to a whole vector.
    float* queries;      // [kv_width][columns], scaled
    float* scores;       // [keys of a span][columns]
    float* corrections;  // [key blocks of a span][columns]
    float* maxima;       // [columns]
    float* sums;         // [columns]
  };
  struct Span {
    const MlaHeads& heads;
    int64_t row;
    int64_t head, count;     // heads of the step
    const Scratch& scratch;  // of the row
    int64_t sharers;         // threads
    int64_t begin, keys;

    const Row& place() const { return heads.row(row); }
    int64_t end() const { return place().position + 1; }  // of the last span
    int64_t columns() const { return static_cast<int64_t>(AlignUp(count, kColumnVector)); }
  };
  using PartBody = absl::FunctionRef<void(int64_t part, int thread)>;
  // Calls the body for all parts.
  using PartLoop = absl::FunctionRef<void(int64_t parts, PartBody body)>;

  Scratch TakeScratch(Arena* arena) const;
  void RunBlock(const MlaHeads& heads, const InputRows& queries_in);
  void Absorb(const MlaHeads& heads, int64_t head, int thread);
  void AbsorbTransposed(const MlaHeads& heads, int64_t head, int thread);
  void RotateQueries(const MlaHeads& heads, int64_t head);
  void AttendRows(const MlaHeads& heads);
  void Attend(Span span, PartLoop loop);
  void TransposeQueries(const Span& span, int64_t part);
  void Score(const Span& span, int64_t part, int thread);
  void Weigh(const Span& span, int64_t part);
  void Sum(const Span& span, int64_t part, int thread);
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
  float* absorbed_;               // [block_rows][heads][kv_width]
  float* latents_;                // [block_rows][heads][kv_lora_rank]
  std::vector<Scratch> scratch_;  // by thread
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MLA_ABSORBED_H_
