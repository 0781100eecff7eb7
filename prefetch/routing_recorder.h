// Writes a routing trace as it happens, in the form that RoutingTrace reads.
#ifndef SLUICE_PREFETCH_ROUTING_RECORDER_H_
#define SLUICE_PREFETCH_ROUTING_RECORDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "prefetch/routing_trace.h"
#include "storage/file_writer.h"

namespace sluice {

// Owns the file, which appears with Finish, and the choices of one sweep.
// A failed write ends the recording, not the run: Finish tells of it.
class RoutingRecorder {
 public:
  struct Header {
    std::string model;  // what a trace cannot hold of it is left out
    int layers = 0;
    int experts = 0;
    int top_k = 0;
    std::vector<uint64_t> record_bytes;  // of each layer
  };

  static absl::StatusOr<RoutingRecorder> Create(const std::string& path);

  // Once, before the first sweep.
  void WriteHeader(const Header& header);

  // Layer 0 begins a sweep of `tokens` and forgets one that did not come to its
  // last layer. `choices` are top_k ids of each token in turn.
  void Record(int layer, absl::Span<const RoutingTrace::Token> tokens, absl::Span<const int> choices);

  absl::Status Finish();

  // What is held of a sweep of `tokens`.
  static uint64_t MemoryBytes(int64_t tokens, int layers, int top_k);

 private:
  RoutingRecorder() = default;
  void WriteSweep(absl::Span<const RoutingTrace::Token> tokens);
  void Flush();

  FileWriter file_;
  Header header_;
  int next_layer_ = 0;
  int64_t sweep_ = 0;
  std::vector<int16_t> choices_;  // [layer][token][top_k]
  std::string text_;
  absl::Status failure_;
};

}  // namespace sluice

#endif  // SLUICE_PREFETCH_ROUTING_RECORDER_H_
