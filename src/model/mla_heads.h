// The heads of one trunk step on a range of rows, as both forms of multi-head
// latent attention (DeepSeek-V2, arXiv 2405.04434) take them.
//
// Per token and layer the cache holds one latent c (kv_lora_rank floats, after
// its norm) and one rotated key part k_rope that all heads share. A head has
// three matrices: its queries, Kb (latent -> key) and Vb (latent -> value).
//   expanded   k = Kb c, v = Vb c:  score = scale (q_nope . k + q_rope . k_rope),  o = sum p v
//   absorbed   q' = Kb^T q_nope:    score = scale (q' . c + q_rope . k_rope),      o = Vb sum p c
// They are equal but for rounding. Expanding costs a key once per sweep and
// saves two thirds of the arithmetic of each row that looks back at it; so rows
// of given tokens, which come in long runs, take it, and rows of generated
// tokens, which come one by one, absorb. What decides is where the token came
// from alone, never who shares the sweep.
// Keys are cut into blocks of kKeyBlock at absolute positions and combined in
// ascending order: a row's bits depend on its form, its position and its keys.
#ifndef SLUICE_SRC_MODEL_MLA_HEADS_H_
#define SLUICE_SRC_MODEL_MLA_HEADS_H_

#include <cstdint>

#include "src/model/activation_rows.h"
#include "src/model/kv_cache.h"
#include "src/model/linear.h"
#include "src/model/model_config.h"
#include "src/model/sweep.h"

namespace sluice {

inline constexpr int64_t kKeyBlock = 64;

struct MlaHeads {
  int layer;
  const Sweep* sweep;
  const KvCache* cache;
  Matrix queries;  // of all heads of the step, as are the others
  Matrix keys;     // Kb, in the older dialect Kb and Vb
  Matrix values;   // Vb; unused in the older dialect
  int64_t row_begin, rows;
  int64_t head_begin, heads;  // all heads of the step
  ActivationRows* out;        // of all rows and heads

  const Row& row(int64_t r) const { return sweep->rows[row_begin + r]; }
  const float* angles(int64_t r, int64_t rope_dims) const { return sweep->angles + (row_begin + r) * rope_dims; }
  // Where the output of `head` (of this step) stands in the first row.
  float* out_row(int64_t r, int64_t head, int64_t value_dims) const {
    return out->row(row_begin + r) + (head_begin + head) * value_dims;
  }

  // `count` rows of `matrix`, from the first-th of those that it has for `head`.
  Matrix OfHead(Matrix matrix, int64_t head, int64_t first, int64_t count) const {
    const int64_t rows_per_head = matrix.rows / heads;
    matrix.data += (head * rows_per_head + first) * RowBytes(matrix.type, matrix.n_in);
    matrix.rows = count;
    return matrix;
  }
  Matrix QueriesOf(int64_t head, int64_t count, const ModelConfig& config) const {
    return OfHead(queries, head, 0, count * config.key_dims);
  }
  // Kb as it is stored: [latent][nope], or [nope][latent] in the older dialect.
  Matrix KeysOf(int64_t head, const ModelConfig& config) const {
    return OfHead(keys, head, 0, config.split_kv_b ? config.kv_lora_rank : config.nope_dims());
  }
  // Vb: [value][latent].
  Matrix ValuesOf(int64_t head, const ModelConfig& config) const {
    return config.split_kv_b ? OfHead(values, head, 0, config.value_dims)
                             : OfHead(keys, head, config.nope_dims(), config.value_dims);
  }
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MLA_HEADS_H_
