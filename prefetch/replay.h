// Replay: what an eviction policy would have done with a recorded routing.
#ifndef SLUICE_PREFETCH_REPLAY_H_
#define SLUICE_PREFETCH_REPLAY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "prefetch/predictor.h"
#include "prefetch/routing_trace.h"
#include "storage/eviction_policy.h"

namespace sluice {

struct ReplayResult {
  uint64_t lookups = 0;
  uint64_t hits = 0;             // resident when demanded, guesses that came true included
  uint64_t prefetches = 0;       // records read before routing had asked for them
  uint64_t prefetches_used = 0;  // of them, those that were asked for while resident
  uint64_t bytes = 0;            // that the drive would have served; 0 when the trace has no record_bytes

  // First touches are misses like any other.
  uint64_t misses() const { return lookups - hits; }
  double hit_percent() const {
    return lookups == 0 ? 0 : 100.0 * static_cast<double>(hits) / static_cast<double>(lookups);
  }
};

// The slots of a pool, in classes that do not lend each other any.
struct ReplayPool {
  std::vector<int> class_of_layer;
  std::vector<size_t> slots;  // of each class

  static ReplayPool OneClass(const RoutingTrace& trace, size_t slots);
  // As many for each layer, give or take one.
  static ReplayPool PerLayer(const RoutingTrace& trace, size_t slots);
  // Layers of equal record_bytes share a class, and every class has `share` (0 to
  // 1) of its records, top_k at least: as the memory plan divides them.
  static ReplayPool BySize(const RoutingTrace& trace, double share);

  size_t total_slots() const;
};

// Runs the trace over a pool that is empty at first. Whole events, as the engine
// demands them: a sweep's layer is looked up at once and observed, then its
// misses take slots in ascending id, free ones first, and no expert of the event
// is evicted for another while something else is there. The lower slot goes
// first among equal scores. Hits are the engine's own, one for one, as long as
// no event is larger than its class; beyond that the order in which its reads
// arrive decides, which is nobody's to know.
// `policy` must know the trace's layers and experts; it learns.
// `predictor`, when there is one, names top_k experts before each event, as if
// all reads for them were done in time, each believed to come true with a chance
// of `guess_odds` at least. What leaves for one is what leaves in the engine's
// pool; when nothing may, it is not read.
ReplayResult Replay(const RoutingTrace& trace, EvictionPolicy& policy, const ReplayPool& pool,
                    Predictor* predictor = nullptr, double guess_odds = 0);

}  // namespace sluice

#endif  // SLUICE_PREFETCH_REPLAY_H_
