// Chooses the next token from logits.
//
// The random number of a position is a pure function of (seed, position), so
// the choice does not depend on what was sampled before, on threads, or on a
// stop and resume. Keeps scratch memory of 4 bytes a token of vocabulary; one
// sampler serves one thread.
#ifndef SLUICE_SRC_TEXT_SAMPLER_H_
#define SLUICE_SRC_TEXT_SAMPLER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace sluice {

// The probabilities are softmax(logits / temperature), cut in this order: the
// top_k most probable tokens; the fewest of those that hold top_p of their
// probability; those at least min_p times as probable as the best. The best
// token always stays, and equal logits rank by lower id.
struct SamplerOptions {
  double temperature = 0;  // 0 is greedy: the highest logit, the lowest id of equals
  int64_t top_k = 0;       // 0 is off
  double top_p = 1;        // 1 is off
  double min_p = 0;        // 0 is off
  uint64_t seed = 0;
};

class Sampler {
 public:
  // InvalidArgument naming the option, its value and its limits.
  static absl::StatusOr<Sampler> Create(const SamplerOptions& options);

  // `logits` are not empty and fewer than 2^31; `position` is that of the token
  // to choose. A logit that is not a number is never chosen while another is
  // there. Allocates only when there are more logits than ever before.
  int32_t Sample(absl::Span<const float> logits, uint64_t position);

 private:
  class Weights;
  class Ranking;
  struct Kept {
    size_t ranks = 0;  // from the best down
    double weight = 0;
  };

  explicit Sampler(const SamplerOptions& options) : options_(options) {}

  int32_t SampleFromAll(const Weights& weights, double fraction) const;
  int32_t SampleFromRanked(const Weights& weights, double fraction);
  // Nothing when `ranking` ends before the cut is found.
  absl::optional<Kept> Keep(const Weights& weights, Ranking* ranking) const;
  // The weight that top_p is a share of; unused when it is off.
  double TotalBeforeTopP(const Weights& weights, size_t limit, Ranking* ranking) const;
  static int32_t Pick(Ranking* ranking, const Kept& kept, double fraction);

  SamplerOptions options_;
  std::vector<int32_t> scratch_;
};

// A number in [0, 1) that depends on nothing but its arguments.
double UniformAt(uint64_t seed, uint64_t position);

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_SAMPLER_H_
