#include "src/model/expert_guesser.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compute/ops.h"

namespace sluice {

ExpertGuesser::ExpertGuesser(Arena* arena, const ModelConfig& config, Linear* linear, int64_t max_rows)
    : config_(config), linear_(linear), router_(config.routing) {
  const int64_t rows = std::min(max_rows, kMaxRows);
  rows_ = arena->Take<float>(rows * config.embedding);
  row_pointers_ = arena->Take<const void*>(rows);
  logits_ = arena->Take<float>(rows * config.routing.experts);
  logit_pointers_ = arena->Take<float*>(rows);
  scratch_ = arena->Take<float>(router_.scratch_floats());
  choices_ = arena->Take<ExpertChoice>(rows * config.routing.top_k);
  guesses_ = arena->Take<int>(rows * config.routing.top_k);
  all_ = arena->Take<int>(config.routing.experts);
  if (all_ != nullptr) std::iota(all_, all_ + config.routing.experts, 0);
}

// Of equally likely experts each row misses one with the same chance; uneven ones
// are read in vain less often than a drive that waits for routing costs.
double ExpertGuesser::WantedShare(int64_t rows) const {
  const double missed = 1.0 - static_cast<double>(config_.routing.top_k) / config_.routing.experts;
  return 1.0 - std::pow(missed, static_cast<double>(rows));
}

absl::Span<const int> ExpertGuesser::GuessAll(int64_t rows) const {
  if (WantedShare(rows) < kCertainShare) return {};
  return {all_, static_cast<size_t>(config_.routing.experts)};
}

absl::Span<const int> ExpertGuesser::Guess(int layer, const ResidentVectors& vectors, const Trunk& trunk,
                                           float* const* residual, float* const* delta, int64_t rows) {
  const Matrix router = trunk.PinnedRouter(layer);
  if (router.data == nullptr) return {};
  rows = std::min(rows, kMaxRows);
  const float* norm = vectors.Find(layer, "ffn_norm.weight");
  const int64_t width = config_.embedding, top_k = config_.routing.top_k;
  for (int64_t r = 0; r < rows; ++r) {
    float* row = rows_ + r * width;
    for (int64_t i = 0; i < width; ++i) row[i] = residual[r][i] + delta[r][i];
    RmsNorm(linear_->kernels().ops, row, norm, width, config_.rms_epsilon, row);
    row_pointers_[r] = row;
    logit_pointers_[r] = logits_ + r * config_.routing.experts;
  }
  InputRows in;
  in.count = rows;
  in.rows[static_cast<int>(ActivationFormat::kF32)] = row_pointers_;
  linear_->MultiplyWith(FloatKernelSet(), router, in, logit_pointers_, 0);
  const float* bias = vectors.Find(layer, "exp_probs_b.bias");
  for (int64_t r = 0; r < rows; ++r) {
    router_.Choose(logit_pointers_[r], bias, scratch_, {choices_ + r * top_k, static_cast<size_t>(top_k)});
  }
  return Rank(rows * top_k);
}

absl::Span<const int> ExpertGuesser::Rank(int64_t choices) {
  std::sort(choices_, choices_ + choices, [](const ExpertChoice& a, const ExpertChoice& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.expert < b.expert;
  });
  int* end = guesses_;
  for (int64_t i = 0; i < choices; ++i) {
    if (std::find(guesses_, end, choices_[i].expert) == end) *end++ = choices_[i].expert;
  }
  return {guesses_, static_cast<size_t>(end - guesses_)};
}

}  // namespace sluice
