#include "prefetch/policies.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "base/check.h"

namespace sluice {
namespace {

// A figure for each record, layer x experts + expert.
template <typename T>
class PerRecord {
 public:
  PerRecord(int layers, int experts, T value)
      : experts_(static_cast<size_t>(experts)), values_(static_cast<size_t>(layers) * experts_, value) {}
  T& At(int layer, int expert) { return values_[static_cast<size_t>(layer) * experts_ + static_cast<size_t>(expert)]; }
  const T& At(int layer, int expert) const {
    return values_[static_cast<size_t>(layer) * experts_ + static_cast<size_t>(expert)];
  }

 private:
  const size_t experts_;
  std::vector<T> values_;
};

class LruPolicy final : public EvictionPolicy {
 public:
  LruPolicy(int layers, int experts) : used_(layers, experts, 0) {}
  void Observe(int layer, absl::Span<const int> experts) override {
    for (const int expert : experts) used_.At(layer, expert) = ++now_;
  }
  double Score(int layer, int expert, int /*now_layer*/) const override {
    return -static_cast<double>(used_.At(layer, expert));
  }

 private:
  int64_t now_ = 0;
  PerRecord<int64_t> used_;
};

class LfuPolicy final : public EvictionPolicy {
 public:
  LfuPolicy(int layers, int experts) : uses_(layers, experts, {}) {}
  void Observe(int layer, absl::Span<const int> experts) override {
    for (const int expert : experts) {
      Use& use = uses_.At(layer, expert);
      ++use.count;
      use.last = ++now_;
    }
  }
  // Recency is less than one use, for as many events as a trace can have.
  double Score(int layer, int expert, int /*now_layer*/) const override {
    const Use& use = uses_.At(layer, expert);
    return -static_cast<double>(use.count) - static_cast<double>(use.last) * 0x1p-40;
  }

 private:
  struct Use {
    int64_t count = 0;
    int64_t last = 0;
  };
  int64_t now_ = 0;
  PerRecord<Use> uses_;
};

class ClairvoyantPolicy final : public EvictionPolicy {
 public:
  explicit ClairvoyantPolicy(const RoutingTrace& trace)
      : trace_(trace), next_(trace.layers(), trace.experts(), kNever), next_use_(trace.events()) {
    // From the end: when each of an event's experts comes again.
    for (size_t event = trace.events(); event > 0;) {
      --event;
      const int layer = trace.EventLayer(event);
      for (const int expert : trace.EventExperts(event)) {
        next_use_[event].push_back(next_.At(layer, expert));
        next_.At(layer, expert) = static_cast<double>(event);
      }
    }
  }

  void Observe(int layer, absl::Span<const int> experts) override {
    SLUICE_CHECK(event_ < trace_.events() && trace_.EventLayer(event_) == layer);
    for (size_t i = 0; i < experts.size(); ++i) next_.At(layer, experts[i]) = next_use_[event_][i];
    ++event_;
  }
  double Score(int layer, int expert, int /*now_layer*/) const override { return next_.At(layer, expert); }

 private:
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  const RoutingTrace& trace_;
  PerRecord<double> next_;                     // the event of each record's next use
  std::vector<std::vector<double>> next_use_;  // of each event's experts, the use after it
  size_t event_ = 0;
};

}  // namespace

std::unique_ptr<EvictionPolicy> MakeLruPolicy(int layers, int experts) {
  return std::make_unique<LruPolicy>(layers, experts);
}

std::unique_ptr<EvictionPolicy> MakeLfuPolicy(int layers, int experts) {
  return std::make_unique<LfuPolicy>(layers, experts);
}

std::unique_ptr<EvictionPolicy> MakeClairvoyantPolicy(const RoutingTrace& trace) {
  return std::make_unique<ClairvoyantPolicy>(trace);
}

}  // namespace sluice
