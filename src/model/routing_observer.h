// Who wants to know what a sweep's rows chose: traces, predictors.
#ifndef SLUICE_SRC_MODEL_ROUTING_OBSERVER_H_
#define SLUICE_SRC_MODEL_ROUTING_OBSERVER_H_

#include "src/model/routing.h"
#include "src/model/sweep.h"

namespace sluice {

class RoutingObserver {
 public:
  virtual ~RoutingObserver() = default;
  // All rows of `sweep` have chosen in the MoE layer `layer`, numbered from 0, and
  // their experts are demanded. Once per sweep and layer, in order, on the thread
  // that runs the sweep; advisory, cannot fail.
  virtual void OnRouting(int layer, const Sweep& sweep, const Routing& routing) = 0;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_ROUTING_OBSERVER_H_
