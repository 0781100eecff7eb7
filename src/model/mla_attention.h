// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): the latents of
// queries and keys, the cache, and the two forms of src/model/mla_heads.h.
//
// The two projections into latent spaces take activations of twice the
// precision (fine_linear.h): scores sharpen their errors, and they are 2.5 % of
// DeepSeek-R1's products. It lowers the median KL divergence from the float path
// by a third (docs/experiments.md).
#ifndef SLUICE_SRC_MODEL_MLA_ATTENTION_H_
#define SLUICE_SRC_MODEL_MLA_ATTENTION_H_

#include <cstdint>

#include "absl/status/status.h"
#include "base/arena.h"
#include "src/model/activation_rows.h"
#include "src/model/fine_linear.h"
#include "src/model/kv_cache.h"
#include "src/model/linear.h"
#include "src/model/mla_absorbed.h"
#include "src/model/mla_expanded.h"
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
  absl::Status QueryLatents(int layer, const Sweep& sweep, const ResidentVectors& vectors, Trunk* trunk,
                            const ActivationRows& normed, const InputRows& in);
  absl::Status WriteKeys(int layer, const Sweep& sweep, const ResidentVectors& vectors, Trunk* trunk, KvCache* cache,
                         const ActivationRows& normed, const InputRows& in);
  // All heads of the trunk's step, range by range of rows that take one form.
  void Heads(int layer, const Sweep& sweep, const KvCache& cache, const Trunk& trunk, const InputRows& queries_in,
             ActivationRows* out);

  const ModelConfig& config_;
  Linear* linear_;
  FineLinear fine_;
  MlaExpanded expanded_;
  MlaAbsorbed absorbed_;
  ActivationRows query_latents_;
  float* kv_rows_;  // [max_rows][kv_width]
  float** kv_pointers_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MLA_ATTENTION_H_
