// Which expert leaves the pool: pure objects that replay can run over a trace.
#ifndef SLUICE_STORAGE_EVICTION_POLICY_H_
#define SLUICE_STORAGE_EVICTION_POLICY_H_

#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
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
  // The chance that a record is used at the next turn of its layer; 0 of policies
  // that reckon with none.
  virtual double Odds(int /*layer*/, int /*expert*/) const { return 0; }
  // The score of a record whose chance is known to be `odds` at least.
  virtual double ScoreAt(double /*odds*/, int layer, int expert, int now_layer) const {
    return Score(layer, expert, now_layer);
  }
};

// A record that may be read before routing has asked for it, into a slot that
// another one would have to leave. `odds`: the chance that it is used at the next
// turn of its layer, as far as the one who guesses knows better than the policy.
struct Guess {
  int layer = 0;
  int expert = 0;
  double odds = 0;
};

// What a resident record's score must exceed to leave for the guess.
double ScoreOf(const Guess& guess, const EvictionPolicy& policy, int now_layer);
// Whether a guess leaves the resident record alone whatever its score: its layer
// is still ahead in this sweep, and its own chance to be used there is better.
// Records of one class have the same size, so chances are all there is to compare.
bool IsKeptFrom(const Guess& guess, const EvictionPolicy& policy, int layer, int expert, int now_layer);

// A resident record that may leave, and how gladly: what a pool keeps a heap of,
// and what replay must rank in the same way.
struct Victim {
  double score;
  int slot;
  // Heap order: the largest score on top, the lower slot among equals.
  bool operator<(const Victim& other) const { return score != other.score ? score < other.score : slot > other.slot; }
};

// Takes the largest of those that score more than `score` and may leave out of the
// heap, and returns its slot; -1 when there is none. `passed_over` is scratch,
// empty before and after.
int PopVictimAbove(double score, absl::FunctionRef<bool(int slot)> may_leave, std::vector<Victim>* heap,
                   std::vector<Victim>* passed_over);

// EV: the expected distance to the next use,
//   (layers until `layer` comes round again) + layers x (1/p - 1),
// where p mixes averages of use per (layer, expert), from recency to popularity,
// with what came next when routing last went as it does now (RoutingEchoes).
// Below one token's cycle LRU hits nothing; this keeps what is likely and near.
// `layers` are the MoE layers 0 .. layers-1 of this numbering.
std::unique_ptr<EvictionPolicy> MakeExpectedDistancePolicy(int layers, int experts);

}  // namespace sluice

#endif  // SLUICE_STORAGE_EVICTION_POLICY_H_
