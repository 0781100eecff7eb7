#include "src/engine/trace_observer.h"

#include "base/status.h"

namespace sluice {

absl::Status TraceObserver::Start(const std::string& path, const Engine& engine) {
  ASSIGN_OR_RETURN(recorder_, RoutingRecorder::Create(path));
  const ModelConfig& config = engine.config();
  RoutingRecorder::Header header;
  header.model = config.name;
  header.layers = config.moe_layers();
  header.experts = config.routing.experts;
  header.top_k = config.routing.top_k;
  for (int layer = 0; layer < header.layers; ++layer) header.record_bytes.push_back(engine.RecordBytes(layer));
  recorder_->WriteHeader(header);
  return absl::OkStatus();
}

void TraceObserver::OnRouting(int layer, const Sweep& sweep, const Routing& routing) {
  tokens_.clear();
  choices_.clear();
  for (int64_t row = 0; row < sweep.count(); ++row) {
    tokens_.push_back({sweep.rows[row].sequence, sweep.rows[row].position});
    for (const ExpertChoice& choice : routing.choices(row)) choices_.push_back(choice.expert);
  }
  recorder_->Record(layer, tokens_, choices_);
}

}  // namespace sluice
