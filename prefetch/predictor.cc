#include "prefetch/predictor.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace sluice {
namespace {

constexpr double kHalfLifeTurns = 32;

class PreviousPredictor final : public Predictor {
 public:
  explicit PreviousPredictor(int layers) : last_(static_cast<size_t>(layers)) {}
  void Observe(int layer, absl::Span<const int> experts) override {
    last_[static_cast<size_t>(layer)].assign(experts.begin(), experts.end());
  }
  void Predict(int layer, int count, std::vector<int>* ids) const override {
    *ids = last_[static_cast<size_t>(layer)];
    ids->resize(std::min(ids->size(), static_cast<size_t>(count)));
  }

 private:
  std::vector<std::vector<int>> last_;  // by layer
};

class PopularityPredictor final : public Predictor {
 public:
  PopularityPredictor(int layers, int experts)
      : decay_(std::exp2(-1 / kHalfLifeTurns)),
        uses_(static_cast<size_t>(layers), std::vector<double>(static_cast<size_t>(experts), 0.0)) {}
  void Observe(int layer, absl::Span<const int> experts) override {
    std::vector<double>& uses = uses_[static_cast<size_t>(layer)];
    for (double& use : uses) use *= decay_;
    for (const int expert : experts) uses[static_cast<size_t>(expert)] += 1 - decay_;
  }
  void Predict(int layer, int count, std::vector<int>* ids) const override {
    const std::vector<double>& uses = uses_[static_cast<size_t>(layer)];
    ids->resize(uses.size());
    std::iota(ids->begin(), ids->end(), 0);
    const auto liked = [&](int a, int b) {
      const double use_a = uses[static_cast<size_t>(a)], use_b = uses[static_cast<size_t>(b)];
      return use_a != use_b ? use_a > use_b : a < b;
    };
    const auto end = ids->begin() + std::min<std::ptrdiff_t>(count, static_cast<std::ptrdiff_t>(ids->size()));
    std::partial_sort(ids->begin(), end, ids->end(), liked);
    ids->erase(end, ids->end());
    // What was never seen is no guess.
    while (!ids->empty() && uses[static_cast<size_t>(ids->back())] == 0) ids->pop_back();
  }

 private:
  const double decay_;
  std::vector<std::vector<double>> uses_;  // [layer][expert]
};

}  // namespace

std::unique_ptr<Predictor> MakePreviousPredictor(int layers) { return std::make_unique<PreviousPredictor>(layers); }

std::unique_ptr<Predictor> MakePopularityPredictor(int layers, int experts) {
  return std::make_unique<PopularityPredictor>(layers, experts);
}

}  // namespace sluice
