// Guesses which experts a layer will choose before it has chosen.
#ifndef SLUICE_PREFETCH_PREDICTOR_H_
#define SLUICE_PREFETCH_PREDICTOR_H_

#include <memory>
#include <vector>

#include "absl/types/span.h"

namespace sluice {

// Pure, like an eviction policy: the same calls give the same answers.
class Predictor {
 public:
  virtual ~Predictor() = default;
  // What a sweep chose in `layer`, ascending ids.
  virtual void Observe(int layer, absl::Span<const int> experts) = 0;
  // Up to `count` different ids for the next turn of `layer`, the likeliest first,
  // in place of what `ids` held.
  virtual void Predict(int layer, int count, std::vector<int>* ids) const = 0;
};

// What the layer chose at its last turn.
std::unique_ptr<Predictor> MakePreviousPredictor(int layers);

// What the layer chose most often, what is long ago counting less.
std::unique_ptr<Predictor> MakePopularityPredictor(int layers, int experts);

}  // namespace sluice

#endif  // SLUICE_PREFETCH_PREDICTOR_H_
