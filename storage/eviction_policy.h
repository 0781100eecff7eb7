// Which expert leaves the pool: pure objects that replay can run over a trace.
#ifndef SLUICE_STORAGE_EVICTION_POLICY_H_
#define SLUICE_STORAGE_EVICTION_POLICY_H_

#include <memory>

#include "absl/types/span.h"

namespace sluice {

// Told of every routing; asked for a score per resident candidate. No clock, no
// randomness: the same calls give the same answers. One thread at a time.
class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;
  // The union that one sweep routed to in `layer`, ascending ids, once per
  // sweep and layer and before the demand is served.
  virtual void Observe(int layer, absl::Span<const int> experts) = 0;
  // The record with the largest score is evicted first. `now_layer` is the layer
  // whose demand needs the slot.
  virtual double Score(int layer, int expert, int now_layer) const = 0;
};

// A resident record that may leave, and how gladly: what a pool keeps a heap of,
// and what replay must rank in the same way.
struct Victim {
  double score;
  int slot;
  // Heap order: the largest score on top, the lower slot among equals.
  bool operator<(const Victim& other) const { return score != other.score ? score < other.score : slot > other.slot; }
};

// EV: the expected distance to the next use,
//   (layers until `layer` comes round again) + layers x (1/p - 1),
// where p mixes averages of use per (layer, expert), from recency to popularity,
// with what came next when routing last went as it does now (RoutingEchoes).
// Below one token's cycle LRU hits nothing; this keeps what is likely and near.
// `layers` are the MoE layers 0 .. layers-1 of this numbering.
std::unique_ptr<EvictionPolicy> MakeExpectedDistancePolicy(int layers, int experts);

}  // namespace sluice

#endif  // SLUICE_STORAGE_EVICTION_POLICY_H_
