#include "storage/routing_echoes.h"

#include <algorithm>

#include "base/check.h"

namespace sluice {
namespace {

// Of a layer's part in the likeness: half of it is of the last twelve layers.
// 6 to 24 do as well.
constexpr double kLayerDecay = 0.944;

double SixthPower(double x) {
  const double square = x * x;
  return square * square * square;
}

}  // namespace

RoutingEchoes::RoutingEchoes(int layers, int experts)
    : layers_(static_cast<size_t>(layers)),
      experts_(static_cast<size_t>(experts)),
      turns_(layers_ * kTurns),
      observed_(layers_),
      chosen_(experts_),
      votes_(layers_ * experts_) {
  SLUICE_CHECK(layers >= 1 && experts >= 1 && experts <= 65536);
  echoes_.reserve(kTurns);
}

void RoutingEchoes::Observe(int layer, absl::Span<const int> experts) {
  const size_t row = static_cast<size_t>(layer);
  Turn& turn = TurnAt(row, observed_[row]++);
  turn.count = 0;
  if (experts.size() <= kMostIds) {
    for (const int expert : experts) turn.ids[turn.count++] = static_cast<uint16_t>(expert);
  }
  for (size_t i = 0; i < turn.count; ++i) chosen_[turn.ids[i]] = 1;
  Compare(row, turn.count);
  for (size_t i = 0; i < turn.count; ++i) chosen_[turn.ids[i]] = 0;
  ChooseEchoes();
  CountVotes();
}

// The present turn with all before it: the share of experts in common.
void RoutingEchoes::Compare(size_t layer, size_t union_size) {
  const int64_t now = observed_[layer] - 1;
  for (int lag = 1; lag < kTurns && lag <= now; ++lag) {
    const Turn& past = TurnAt(layer, now - lag);
    int common = 0;
    for (size_t i = 0; i < past.count; ++i) common += chosen_[past.ids[i]];
    const size_t most = std::max({past.count, union_size, size_t{1}});
    double& likeness = likeness_[static_cast<size_t>(lag)];
    likeness = kLayerDecay * likeness + (1 - kLayerDecay) * common / static_cast<double>(most);
  }
}

void RoutingEchoes::ChooseEchoes() {
  echoes_.clear();
  for (int lag = 1; lag < kTurns; ++lag) {
    const double weight = SixthPower(likeness_[static_cast<size_t>(lag)]);
    if (weight > 0) echoes_.push_back({weight, lag});
  }
  const size_t kept = std::min(echoes_.size(), kMostEchoes);
  const auto stronger = [](const Echo& a, const Echo& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.lag < b.lag;
  };
  std::partial_sort(echoes_.begin(), echoes_.begin() + static_cast<std::ptrdiff_t>(kept), echoes_.end(), stronger);
  echoes_.resize(kept);
}

void RoutingEchoes::CountVotes() {
  std::fill(votes_.begin(), votes_.end(), 0.0f);
  total_votes_ = 0;
  for (const Echo& echo : echoes_) {
    total_votes_ += echo.weight;
    for (size_t layer = 0; layer < layers_; ++layer) {
      if (observed_[layer] < echo.lag) continue;
      const Turn& turn = TurnAt(layer, observed_[layer] - echo.lag);
      float* const row = &votes_[layer * experts_];
      for (size_t i = 0; i < turn.count; ++i) row[turn.ids[i]] += static_cast<float>(echo.weight);
    }
  }
}

}  // namespace sluice
