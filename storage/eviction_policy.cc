#include "storage/eviction_policy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "storage/routing_echoes.h"

namespace sluice {
namespace {

// Hit rates in percent when public traces are replayed event by event, first
// touches counted, for LRU / LRU with a quota per layer / LFU / this / the
// clairvoyant optimum, by the share of all experts held (`sluice replay`):
//   Kimi-Linear, 300 tokens         3 %: 0.0 / 32.1 / 29.5 / 38.0 / 50.7
//                                  10 %: 54.3 / 55.1 / 50.2 / 58.4 / 71.6
//                                  25 %: 73.0 / 72.9 / 71.7 / 75.0 / 84.9
//                                  50 %: 87.1 / 86.7 / 87.7 / 88.0 / 91.2
//   DeepSeek-V2-Lite, summaries,    3 %: 0.0 / 9.3 / 11.0 / 15.1 / 23.7
//     1200 tokens                  10 %: 29.2 / 30.1 / 26.5 / 34.5 / 50.4
//                                  25 %: 46.5 / 49.0 / 48.9 / 55.2 / 72.4
//                                  50 %: 71.7 / 72.8 / 74.5 / 78.3 / 89.1
// Without the echoes it is 1 to 5 points less at 3 and 10 %. The optimum of the
// constants is flat: other half-lives (1 / 4 / 32 / 256), 0.02 to 0.2 votes and
// half or four times the echoes change the mean by 0.2 points at most.

// How often a layer chooses an expert, by averages over more and more of the
// past: the fastest knows what is being talked about now, the slowest what is
// popular. Turns are sweeps.
struct Average {
  double half_life_turns;
  double share;
  // Each begins as if so many turns had been seen in which all experts were
  // equally busy, so that what was used once in a short past is no favourite yet.
  double prior_turns;
};
constexpr std::array<Average, 4> kAverages = {{{1, 0.3, 0}, {8, 0.15, 4}, {64, 0.25, 4}, {1024, 0.3, 4}}};
// The averages speak as loud as this many echoes of full likeness.
constexpr double kAveragesVotes = 0.1;

class ExpectedDistancePolicy final : public EvictionPolicy {
 public:
  ExpectedDistancePolicy(int layers, int experts)
      : layers_(layers),
        experts_(static_cast<size_t>(experts)),
        uses_(static_cast<size_t>(layers) * experts_),
        turns_(static_cast<size_t>(layers)),
        echoes_(layers, experts) {
    for (size_t i = 0; i < kAverages.size(); ++i) {
      decay_[i] = static_cast<float>(std::exp2(-1 / kAverages[i].half_life_turns));
    }
    for (Use& use : uses_) use.rate = kLeastRate;
  }

  void Observe(int layer, absl::Span<const int> experts) override {
    ++unions_;
    chosen_ += static_cast<double>(experts.size());
    Use* const row = &uses_[static_cast<size_t>(layer) * experts_];
    Sums& turns = turns_[static_cast<size_t>(layer)];
    for (size_t i = 0; i < kAverages.size(); ++i) {
      turns[i] = turns[i] * decay_[i] + 1;
      for (size_t expert = 0; expert < experts_; ++expert) row[expert].sums[i] *= decay_[i];
      for (const int expert : experts) row[expert].sums[i] += 1;
    }
    const double mean = chosen_ / (unions_ * static_cast<double>(experts_));
    for (size_t expert = 0; expert < experts_; ++expert) row[expert].rate = Rate(row[expert].sums, turns, mean);
    echoes_.Observe(layer, experts);
  }

  double Score(int layer, int expert, int now_layer) const override {
    return Distance(Odds(layer, expert), layer - now_layer);
  }

  double Odds(int layer, int expert) const override {
    const double rate = uses_[static_cast<size_t>(layer) * experts_ + static_cast<size_t>(expert)].rate;
    return std::min(1.0,
                    (kAveragesVotes * rate + echoes_.Votes(layer, expert)) / (kAveragesVotes + echoes_.total_votes()));
  }

  double ScoreAt(double odds, int layer, int expert, int now_layer) const override {
    return Distance(std::clamp(odds, Odds(layer, expert), 1.0), layer - now_layer);
  }

 private:
  using Sums = std::array<float, kAverages.size()>;
  struct Use {
    Sums sums = {};
    double rate = 0;
  };

  double Distance(double odds, int layers_ahead) const {
    return (layers_ahead > 0 ? layers_ahead : layers_ahead + layers_) + layers_ * (1 / odds - 1);
  }

  // No record has less, not even in a layer that has had no turn.
  static constexpr double kLeastRate = 1e-6;

  static double Rate(const Sums& uses, const Sums& turns, double mean) {
    double rate = 0;
    for (size_t i = 0; i < kAverages.size(); ++i) {
      const double prior = kAverages[i].prior_turns;
      rate += kAverages[i].share * (uses[i] + prior * mean) / (turns[i] + prior);
    }
    return std::max(rate, kLeastRate);
  }

  const int layers_;
  const size_t experts_;
  Sums decay_;
  std::vector<Use> uses_;
  std::vector<Sums> turns_;  // of each layer, with the weights of `sums`
  double unions_ = 0;
  double chosen_ = 0;  // experts, in all unions
  RoutingEchoes echoes_;
};

}  // namespace

double ScoreOf(const Guess& guess, const EvictionPolicy& policy, int now_layer) {
  return policy.ScoreAt(guess.odds, guess.layer, guess.expert, now_layer);
}

bool IsKeptFrom(const Guess& guess, const EvictionPolicy& policy, int layer, int expert, int now_layer) {
  const double odds = std::max(guess.odds, policy.Odds(guess.layer, guess.expert));
  return layer > now_layer && policy.Odds(layer, expert) > odds;
}

int PopVictimAbove(double score, absl::FunctionRef<bool(int slot)> may_leave, std::vector<Victim>* heap,
                   std::vector<Victim>* passed_over) {
  int slot = -1;
  while (slot < 0 && !heap->empty() && heap->front().score > score) {
    std::pop_heap(heap->begin(), heap->end());
    if (may_leave(heap->back().slot)) {
      slot = heap->back().slot;
    } else {
      passed_over->push_back(heap->back());
    }
    heap->pop_back();
  }
  for (const Victim& victim : *passed_over) {
    heap->push_back(victim);
    std::push_heap(heap->begin(), heap->end());
  }
  passed_over->clear();
  return slot;
}

std::unique_ptr<EvictionPolicy> MakeExpectedDistancePolicy(int layers, int experts) {
  SLUICE_CHECK(layers >= 1 && experts >= 1);
  return std::make_unique<ExpectedDistancePolicy>(layers, experts);
}

}  // namespace sluice
