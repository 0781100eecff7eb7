// Which experts the next layer will probably want, before it is computed.
//
// The next layer's own router, applied to the row as it is after this layer's
// attention and shared expert: what is missing, the routed experts and the next
// attention, changes a row of a deep model little. A guess decides what is read
// early, never what is computed.
#ifndef SLUICE_SRC_MODEL_EXPERT_GUESSER_H_
#define SLUICE_SRC_MODEL_EXPERT_GUESSER_H_

#include <cstdint>

#include "absl/types/span.h"
#include "base/arena.h"
#include "src/model/linear.h"
#include "src/model/model_config.h"
#include "src/model/resident_vectors.h"
#include "src/model/router.h"
#include "src/model/trunk.h"
#include "src/model/weight_layout.h"

namespace sluice {

class ExpertGuesser {
 public:
  // Rows that a guess can be made for at once; more make unions that need none.
  static constexpr int64_t kMaxRows = 4;

  ExpertGuesser(Arena* arena, const ModelConfig& config, Linear* linear, int64_t max_rows);

  // The experts that `layer` will probably want for rows residual[r] + delta[r],
  // most certain first. Empty when its router is not in memory. Valid until the
  // next call.
  absl::Span<const int> Guess(int layer, const ResidentVectors& vectors, const Trunk& trunk, float* const* residual,
                              float* const* delta, int64_t rows);

 private:
  // Best first, without doubles.
  absl::Span<const int> Rank(int64_t choices);

  const ModelConfig& config_;
  Linear* linear_;
  Router router_;
  float* rows_;  // [kMaxRows][embedding]
  const void** row_pointers_;
  float* logits_;  // [kMaxRows][experts]
  float** logit_pointers_;
  float* scratch_;
  ExpertChoice* choices_;  // [kMaxRows][top_k]
  int* guesses_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_EXPERT_GUESSER_H_
