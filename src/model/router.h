// Which experts a row uses, and with what weight.
//
// Scores p = softmax or sigmoid of the router's logits; selection by p + bias,
// within the best groups when the model routes in groups; weights are the
// unbiased p of the chosen. Ties go to the lower id. DeepSeek-V2 (softmax)
// ranks a group by its best expert, DeepSeek-V3 (sigmoid) by the sum of its two
// best (arXiv 2405.04434, 2412.19437).
#ifndef SLUICE_SRC_MODEL_ROUTER_H_
#define SLUICE_SRC_MODEL_ROUTER_H_

#include <cstdint>

#include "absl/types/span.h"
#include "src/model/model_config.h"

namespace sluice {

struct ExpertChoice {
  int expert;
  float weight;
};

class Router {
 public:
  explicit Router(const RoutingConfig& config) : config_(config) {}

  // Floats of scratch that Choose needs.
  int64_t scratch_floats() const { return 2 * config_.experts + config_.groups; }
  // `logits` has one value per expert; `bias` too, or is null. Writes top_k
  // choices in ascending id.
  void Choose(const float* logits, const float* bias, float* scratch, absl::Span<ExpertChoice> choices) const;

 private:
  void Scores(const float* logits, float* scores) const;
  void DropWeakGroups(float* selection, float* group_scores) const;
  float GroupScore(const float* selection) const;
  void Weigh(const float* scores, absl::Span<ExpertChoice> choices) const;

  RoutingConfig config_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_ROUTER_H_
