#include "src/text/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/status.h"

namespace sluice {
namespace {

// A bijection of 64 bits whose output looks random for counting inputs.
uint64_t Mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ x >> 32;
}

// Not-a-number ranks below everything.
float Comparable(float logit) { return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit; }

int32_t BestId(absl::Span<const float> logits) {
  int32_t best = 0;
  float best_logit = Comparable(logits[0]);
  for (int32_t id = 1; id < static_cast<int32_t>(logits.size()); ++id) {
    if (!(logits[id] > best_logit)) continue;
    best = id;
    best_logit = logits[id];
  }
  return best;
}

// Written so that not-a-number fails too.
absl::Status CheckRange(absl::string_view name, double value, double high, absl::string_view cure) {
  if (value >= 0 && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " ", value, " is out of range: must be 0 to ", high, cure));
}

}  // namespace

double UniformAt(uint64_t seed, uint64_t position) {
  const uint64_t bits = Mix(Mix(seed + 0x9E3779B97F4A7C15u) + (position + 1) * 0x9E3779B97F4A7C15u);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// Unnormalised probabilities; that of the best token is 1.
class Sampler::Weights {
 public:
  Weights(absl::Span<const float> logits, float best_logit, double temperature)
      : logits_(logits), best_(best_logit), temperature_(temperature) {}

  double Of(int32_t id) const {
    // Equality first: infinities have no difference.
    if (logits_[id] == best_) return 1;
    const double below = static_cast<double>(logits_[id]) - best_;
    return below < 0 ? std::exp(below / temperature_) : 0;
  }
  bool RanksBefore(int32_t a, int32_t b) const {
    const float x = Comparable(logits_[a]);
    const float y = Comparable(logits_[b]);
    return x != y ? x > y : a < b;
  }
  // Of all tokens for an infinite `depth`; cheaper than comparing weights.
  bool IsWithin(int32_t id, double depth) const {
    return std::isinf(depth) || logits_[id] >= best_ - depth * temperature_;
  }
  int32_t size() const { return static_cast<int32_t>(logits_.size()); }

  double Total() const {
    double total = 0;
    for (int32_t id = 0; id < size(); ++id) total += Of(id);
    return total;
  }

 private:
  absl::Span<const float> logits_;
  double best_;
  double temperature_;
};

// Ids from the most to the least probable, ranked only as far as asked for.
class Sampler::Ranking {
  struct Worse {
    bool operator()(int32_t a, int32_t b) const { return weights.RanksBefore(b, a); }
    const Weights& weights;
  };

 public:
  // Of the tokens within `depth` (natural logarithm) of the best, in `scratch`.
  Ranking(const Weights& weights, double depth, std::vector<int32_t>* scratch) : weights_(weights), heap_(*scratch) {
    heap_.clear();
    heap_.reserve(weights.size());
    for (int32_t id = 0; id < weights.size(); ++id) {
      if (weights.IsWithin(id, depth)) heap_.push_back(id);
    }
    std::make_heap(heap_.begin(), heap_.end(), Worse{weights_});
  }

  size_t size() const { return heap_.size(); }

  // `rank` is below size(). Ranked ids gather at the end of the heap.
  int32_t IdAt(size_t rank) {
    for (; ranked_ <= rank; ++ranked_)
      std::pop_heap(heap_.begin(), heap_.end() - static_cast<ptrdiff_t>(ranked_), Worse{weights_});
    return heap_[heap_.size() - 1 - rank];
  }
  double WeightAt(size_t rank) { return weights_.Of(IdAt(rank)); }

 private:
  const Weights& weights_;
  std::vector<int32_t>& heap_;
  size_t ranked_ = 0;
};

absl::StatusOr<Sampler> Sampler::Create(const SamplerOptions& options) {
  RETURN_IF_ERROR(CheckRange("temperature", options.temperature, 100, "; 0 is greedy"));
  RETURN_IF_ERROR(CheckRange("top_p", options.top_p, 1, "; 1 turns it off"));
  RETURN_IF_ERROR(CheckRange("min_p", options.min_p, 1, "; 0 turns it off"));
  if (options.top_k < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_k ", options.top_k, " is out of range: must be at least 0; 0 turns it off"));
  }
  return Sampler(options);
}

int32_t Sampler::Sample(absl::Span<const float> logits, uint64_t position) {
  SLUICE_CHECK(!logits.empty() && logits.size() < size_t{1} << 31);
  const int32_t best = BestId(logits);
  if (options_.temperature == 0 || options_.top_k == 1) return best;
  const Weights weights(logits, Comparable(logits[best]), options_.temperature);
  const double fraction = UniformAt(options_.seed, position);
  const bool cuts = options_.top_k > 0 || options_.top_p < 1 || options_.min_p > 0;
  return cuts ? SampleFromRanked(weights, fraction) : SampleFromAll(weights, fraction);
}

int32_t Sampler::SampleFromAll(const Weights& weights, double fraction) const {
  const double target = fraction * weights.Total();
  double sum = 0;
  int32_t last = 0;
  for (int32_t id = 0; id < weights.size(); ++id) {
    const double weight = weights.Of(id);
    if (weight == 0) continue;
    last = id;
    sum += weight;
    if (sum > target) break;
  }
  return last;
}

double Sampler::TotalBeforeTopP(const Weights& weights, size_t limit, Ranking* ranking) const {
  if (options_.top_p == 1) return 0;
  if (limit == static_cast<size_t>(weights.size())) return weights.Total();
  double total = 0;
  for (size_t rank = 0; rank < limit; ++rank) total += ranking->WeightAt(rank);
  return total;
}

absl::optional<Sampler::Kept> Sampler::Keep(const Weights& weights, Ranking* ranking) const {
  const size_t all = static_cast<size_t>(weights.size());
  const size_t limit = options_.top_k > 0 ? std::min(all, static_cast<size_t>(options_.top_k)) : all;
  if (limit < all && limit > ranking->size()) return absl::nullopt;
  const double enough = options_.top_p * TotalBeforeTopP(weights, limit, ranking);
  Kept kept;
  while (kept.ranks < limit && (kept.ranks == 0 || options_.top_p == 1 || kept.weight < enough)) {
    if (kept.ranks == ranking->size()) return absl::nullopt;
    const double weight = ranking->WeightAt(kept.ranks);
    if (kept.ranks > 0 && (weight < options_.min_p || weight == 0)) break;
    kept.weight += weight;
    ++kept.ranks;
  }
  return kept;
}

int32_t Sampler::SampleFromRanked(const Weights& weights, double fraction) {
  // What is kept nearly always lies near the top, and ranking a few hundred
  // tokens is cheap; else all are ranked. Both give the same.
  constexpr double kUsualDepth = 8;
  Ranking ranking(weights, kUsualDepth, &scratch_);
  absl::optional<Kept> kept = Keep(weights, &ranking);
  if (kept.has_value()) return Pick(&ranking, *kept, fraction);
  Ranking full(weights, std::numeric_limits<double>::infinity(), &scratch_);
  kept = Keep(weights, &full);
  SLUICE_CHECK(kept.has_value());
  return Pick(&full, *kept, fraction);
}

int32_t Sampler::Pick(Ranking* ranking, const Kept& kept, double fraction) {
  const double target = fraction * kept.weight;
  double sum = 0;
  for (size_t rank = 0; rank + 1 < kept.ranks; ++rank) {
    sum += ranking->WeightAt(rank);
    if (sum > target) return ranking->IdAt(rank);
  }
  return ranking->IdAt(kept.ranks - 1);
}

}  // namespace sluice
