// Eviction policies to hold the engine's own against.
#ifndef SLUICE_PREFETCH_POLICIES_H_
#define SLUICE_PREFETCH_POLICIES_H_

#include <memory>

#include "prefetch/routing_trace.h"
#include "storage/eviction_policy.h"

namespace sluice {

// The one that was used longest ago leaves.
std::unique_ptr<EvictionPolicy> MakeLruPolicy(int layers, int experts);

// The one that was used least often leaves; the older one among equals.
std::unique_ptr<EvictionPolicy> MakeLfuPolicy(int layers, int experts);

// The one that is needed again last leaves: no policy hits more often in a pool
// of slots of one size. Knows the future of `trace`, whose events it must be
// told of in order, and which must outlive it.
std::unique_ptr<EvictionPolicy> MakeClairvoyantPolicy(const RoutingTrace& trace);

}  // namespace sluice

#endif  // SLUICE_PREFETCH_POLICIES_H_
