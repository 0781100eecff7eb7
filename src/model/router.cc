#include "src/model/router.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "compute/ops.h"

namespace sluice {
namespace {

constexpr float kDropped = -std::numeric_limits<float>::infinity();

constexpr int kNoExpert = -1;

// The first of the largest; something valid even when all are NaN.
int64_t ArgMax(const float* values, int64_t count) {
  int64_t best = 0;
  for (int64_t i = 1; i < count; ++i) {
    if (values[i] > values[best] || values[best] != values[best]) best = i;
  }
  return best;
}

}  // namespace

void Router::Choose(const float* logits, const float* bias, float* scratch, absl::Span<ExpertChoice> choices) const {
  SLUICE_DCHECK(static_cast<int>(choices.size()) == config_.top_k);
  const int experts = config_.experts;
  float* scores = scratch;
  float* selection = scratch + experts;
  Scores(logits, scores);
  for (int e = 0; e < experts; ++e) selection[e] = bias == nullptr ? scores[e] : scores[e] + bias[e];
  if (config_.groups > 1) DropWeakGroups(selection, scratch + 2 * experts);
  for (ExpertChoice& choice : choices) {
    const int64_t best = ArgMax(selection, experts);
    choice.expert = selection[best] > kDropped ? static_cast<int>(best) : kNoExpert;
    selection[best] = kDropped;
  }
  // Logits that are no numbers choose nothing; the ids must still be valid.
  const bool broken = std::any_of(choices.begin(), choices.end(),
                                  [](const ExpertChoice& choice) { return choice.expert == kNoExpert; });
  if (broken) {
    for (size_t k = 0; k < choices.size(); ++k) choices[k].expert = static_cast<int>(k);
  }
  std::sort(choices.begin(), choices.end(),
            [](const ExpertChoice& a, const ExpertChoice& b) { return a.expert < b.expert; });
  Weigh(scores, choices);
}

void Router::Scores(const float* logits, float* scores) const {
  std::copy(logits, logits + config_.experts, scores);
  if (config_.gating == Gating::kSoftmax) {
    Softmax(FloatKernelSet().ops, scores, config_.experts);
  } else {
    Sigmoid(FloatKernelSet().ops, scores, config_.experts);
  }
}

float Router::GroupScore(const float* selection) const {
  const int size = config_.experts / config_.groups;
  float first = kDropped, second = kDropped;
  for (int e = 0; e < size; ++e) {
    const float score = selection[e];
    if (score > first) {
      second = first;
      first = score;
    } else if (score > second) {
      second = score;
    }
  }
  return config_.gating == Gating::kSoftmax || size == 1 ? first : first + second;
}

void Router::DropWeakGroups(float* selection, float* group_scores) const {
  const int size = config_.experts / config_.groups;
  for (int g = 0; g < config_.groups; ++g) group_scores[g] = GroupScore(selection + g * size);
  // A group is kept when fewer than groups_used others come before it.
  for (int g = 0; g < config_.groups; ++g) {
    int before = 0;
    for (int other = 0; other < config_.groups; ++other) {
      before += group_scores[other] > group_scores[g] || (group_scores[other] == group_scores[g] && other < g);
    }
    if (before >= config_.groups_used) std::fill_n(selection + g * size, size, kDropped);
  }
}

void Router::Weigh(const float* scores, absl::Span<ExpertChoice> choices) const {
  float sum = 0.0f;
  for (ExpertChoice& choice : choices) {
    choice.weight = scores[choice.expert];
    sum += choice.weight;
  }
  for (ExpertChoice& choice : choices) {
    // Scores that all vanish stay zero instead of becoming 0 / 0.
    if (config_.normalize && sum != 0.0f) choice.weight /= sum;
    choice.weight *= config_.scale;
  }
}

}  // namespace sluice
