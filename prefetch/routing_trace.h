// A recorded routing: which experts every token of a run chose, layer by layer.
#ifndef SLUICE_PREFETCH_ROUTING_TRACE_H_
#define SLUICE_PREFETCH_ROUTING_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice {

// Owns its ids. An event is one sweep's layer; events lie in the order in which
// they happened: all layers of a sweep, then the next sweep. Every event holds
// the union of what the sweep's tokens chose, top_k() ids each: different ids
// below experts(), ascending. There is at least one token. Layers are the MoE
// layers alone, 0 .. layers()-1.
class RoutingTrace {
 public:
  struct Token {
    int64_t sequence;
    int64_t position;
  };

  // `text` is JSON, one object per line. The first line has model, layers,
  // experts and top_k, and may have record_bytes, a number for each layer; each
  // other line is a token: seq, pos and experts, a list of ids for each layer,
  // and maybe sweep, a number. Neighbours with the same sweep ran together; a
  // token without one ran alone. Other keys are ignored. Reading ends after
  // `max_tokens` (at least 1) tokens; what follows them is not looked at.
  // Refuses, naming line and field, what does not hold to that; lines above
  // kMaxLineBytes and headers above the limits below.
  static absl::StatusOr<RoutingTrace> Parse(absl::string_view text,
                                            size_t max_tokens = std::numeric_limits<size_t>::max());

  static constexpr size_t kMaxLineBytes = size_t{1} << 20;
  static constexpr size_t kMaxModelBytes = 256;
  static constexpr int kMaxLayers = 1024;
  static constexpr int kMaxExperts = 4096;
  static constexpr int64_t kMaxRecordBytes = int64_t{1} << 40;

  const std::string& model() const { return model_; }
  int layers() const { return layers_; }
  int experts() const { return experts_; }
  int top_k() const { return top_k_; }
  const std::vector<Token>& tokens() const { return tokens_; }

  // What a read of one expert of each layer takes; empty when the trace is silent.
  const std::vector<uint64_t>& record_bytes() const { return record_bytes_; }
  // The same for every layer, in place of what the trace says.
  void SetRecordBytes(uint64_t bytes) { record_bytes_.assign(static_cast<size_t>(layers_), bytes); }

  size_t sweeps() const { return events() / static_cast<size_t>(layers_); }
  size_t events() const { return event_begins_.size() - 1; }
  int EventLayer(size_t event) const { return static_cast<int>(event % static_cast<size_t>(layers_)); }
  // Valid as long as the trace.
  absl::Span<const int> EventExperts(size_t event) const {
    return absl::MakeConstSpan(ids_).subspan(event_begins_[event], event_begins_[event + 1] - event_begins_[event]);
  }

 private:
  friend class RoutingTraceParser;

  RoutingTrace() = default;

  std::string model_;
  int layers_ = 0;
  int experts_ = 0;
  int top_k_ = 0;
  std::vector<uint64_t> record_bytes_;
  std::vector<Token> tokens_;
  std::vector<int> ids_;  // of all events
  std::vector<size_t> event_begins_ = {0};
};

// The text of one or more zstd frames, whole or not at all. Refuses more than
// `limit_bytes` of text without holding more than that, damaged frames, and
// frames that end early or ask for a window above 128 MiB.
absl::StatusOr<std::string> DecompressZstd(absl::string_view bytes, uint64_t limit_bytes);

}  // namespace sluice

#endif  // SLUICE_PREFETCH_ROUTING_TRACE_H_
