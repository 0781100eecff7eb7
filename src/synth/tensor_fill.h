// The bytes of one tensor, in units that can be made in any order.
#ifndef SLUICE_SRC_SYNTH_TENSOR_FILL_H_
#define SLUICE_SRC_SYNTH_TENSOR_FILL_H_

#include <cstdint>
#include <functional>

#include "absl/types/span.h"
#include "src/synth/synth_model.h"

namespace sluice {

struct TensorFill {
  uint64_t unit_bytes = 0;  // of every unit but the last, which may be shorter
  // Fills unit `unit`. Pure; any thread.
  std::function<void(uint64_t unit, absl::Span<uint8_t> bytes)> fill;
};

// Of tensor `index`, laid out; `model` must outlive it.
TensorFill FillOf(const SynthModel& model, size_t index);

}  // namespace sluice

#endif  // SLUICE_SRC_SYNTH_TENSOR_FILL_H_
