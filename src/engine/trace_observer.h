// Records a run's routing in a file: `--trace`.
#ifndef SLUICE_SRC_ENGINE_TRACE_OBSERVER_H_
#define SLUICE_SRC_ENGINE_TRACE_OBSERVER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "prefetch/routing_recorder.h"
#include "src/engine/engine.h"
#include "src/model/routing_observer.h"

namespace sluice {

class TraceObserver final : public RoutingObserver {
 public:
  // Begins the file, after the engine that this was given to was made and before
  // its first sweep.
  absl::Status Start(const std::string& path, const Engine& engine);
  void OnRouting(int layer, const Sweep& sweep, const Routing& routing) override;
  // What happened on the way, and the file in its place.
  absl::Status Finish() { return recorder_->Finish(); }

 private:
  absl::optional<RoutingRecorder> recorder_;
  std::vector<RoutingTrace::Token> tokens_;
  std::vector<int> choices_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_TRACE_OBSERVER_H_
