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
  // Rows that a guess looks at; of more, the first ones speak for the others.
  static constexpr int64_t kMaxRows = 48;
  // The share of a layer's experts from which on no router need be asked.
  static constexpr double kCertainShare = 0.75;

  ExpertGuesser(Arena* arena, const ModelConfig& config, Linear* linear, int64_t max_rows);

  // The share of a layer's experts that so many rows want.
  double WantedShare(int64_t rows) const;
  // Every expert when so many rows are certain to want nearly all, else none.
  absl::Span<const int> GuessAll(int64_t rows) const;
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
  int* all_;  // [experts], ascending
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_EXPERT_GUESSER_H_
