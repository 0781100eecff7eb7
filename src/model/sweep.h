// What one pass through all layers carries.
#ifndef SLUICE_SRC_MODEL_SWEEP_H_
#define SLUICE_SRC_MODEL_SWEEP_H_

#include <cstdint>

#include "absl/types/span.h"

namespace sluice {

// One token of one sequence at its absolute position.
struct Row {
  int sequence = 0;  // place in the KV cache
  int64_t position = 0;
  int32_t token = 0;
  bool wants_logits = false;
  bool generated = false;  // by the model, not given: decides the form of attention
};

// Neighbouring rows [begin, end) of one sequence and origin, positions rising by one.
struct SequenceRun {
  int sequence = 0;
  bool generated = false;
  int64_t begin = 0;
  int64_t end = 0;
};

struct Sweep {
  absl::Span<const Row> rows;
  absl::Span<const SequenceRun> runs;
  const float* angles = nullptr;  // [rows][rope dims]: (cos, sin) pairs

  int64_t count() const { return static_cast<int64_t>(rows.size()); }
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_SWEEP_H_
