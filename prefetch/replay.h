// Replay: what an eviction policy would have done with a recorded routing.
#ifndef SLUICE_PREFETCH_REPLAY_H_
#define SLUICE_PREFETCH_REPLAY_H_

#include <cstddef>
#include <cstdint>

#include "prefetch/routing_trace.h"
#include "storage/eviction_policy.h"

namespace sluice {

struct ReplayResult {
  uint64_t lookups = 0;
  uint64_t hits = 0;

  // First touches are misses like any other. Misses times the bytes of a record
  // are the bytes that the disk would have served.
  uint64_t misses() const { return lookups - hits; }
  double hit_percent() const {
    return lookups == 0 ? 0 : 100.0 * static_cast<double>(hits) / static_cast<double>(lookups);
  }
};

// Runs the trace over a pool of `slots` records, at least top_k, empty at first.
// Whole events, as the engine demands them: a token's layer is looked up at once
// and observed, then its misses take slots, and no expert of the event is evicted
// for another. `policy` must know the trace's layers and experts; it learns.
ReplayResult Replay(const RoutingTrace& trace, EvictionPolicy& policy, size_t slots);

}  // namespace sluice

#endif  // SLUICE_PREFETCH_REPLAY_H_
