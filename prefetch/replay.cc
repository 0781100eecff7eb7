#include "prefetch/replay.h"

#include <algorithm>
#include <vector>

#include "absl/types/span.h"
#include "base/check.h"

namespace sluice {
namespace {

// Records are numbered layer x experts + expert.
class ReplayPool {
 public:
  ReplayPool(const RoutingTrace& trace, EvictionPolicy& policy, size_t slots)
      : experts_(trace.experts()),
        slots_(slots),
        policy_(policy),
        resident_(static_cast<size_t>(trace.layers()) * static_cast<size_t>(trace.experts())) {
    members_.reserve(std::min(slots, resident_.size()));
  }

  // Returns the hits of one event.
  uint64_t Demand(int layer, absl::Span<const int> experts) {
    misses_.clear();
    for (const int expert : experts) {
      if (!resident_[Record(layer, expert)]) misses_.push_back(expert);
    }
    policy_.Observe(layer, experts);
    for (const int expert : misses_) Admit(layer, expert, experts);
    return experts.size() - misses_.size();
  }

 private:
  size_t Record(int layer, int expert) const { return static_cast<size_t>(layer * experts_ + expert); }

  void Admit(int layer, int expert, absl::Span<const int> experts) {
    if (members_.size() == slots_) Evict(layer, experts);
    members_.push_back(layer * experts_ + expert);
    resident_[Record(layer, expert)] = true;
  }

  void Evict(int now_layer, absl::Span<const int> experts) {
    size_t worst = members_.size();
    double worst_score = 0;
    for (size_t i = 0; i < members_.size(); ++i) {
      const int layer = members_[i] / experts_;
      const int expert = members_[i] % experts_;
      const double score = policy_.Score(layer, expert, now_layer);
      if (worst < members_.size() && score <= worst_score) continue;
      if (layer == now_layer && std::binary_search(experts.begin(), experts.end(), expert)) continue;
      worst = i;
      worst_score = score;
    }
    // With top_k slots or more, an event that still misses leaves one to others.
    SLUICE_CHECK(worst < members_.size());
    resident_[static_cast<size_t>(members_[worst])] = false;
    members_[worst] = members_.back();
    members_.pop_back();
  }

  const int experts_;
  const size_t slots_;
  EvictionPolicy& policy_;
  std::vector<int> members_;  // resident records, in no order
  std::vector<bool> resident_;
  std::vector<int> misses_;  // of the present event
};

}  // namespace

ReplayResult Replay(const RoutingTrace& trace, EvictionPolicy& policy, size_t slots) {
  SLUICE_CHECK(slots >= static_cast<size_t>(trace.top_k()));
  ReplayPool pool(trace, policy, slots);
  ReplayResult result;
  for (size_t event = 0; event < trace.events(); ++event) {
    const absl::Span<const int> experts = trace.EventExperts(event);
    result.hits += pool.Demand(trace.EventLayer(event), experts);
    result.lookups += experts.size();
  }
  return result;
}

}  // namespace sluice
