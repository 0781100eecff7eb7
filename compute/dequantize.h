// Decoding of quantised blocks to float32: the slow, obvious truth.
//
// Layouts: one function per type (compute/block_codes.h), after the format notes
// in docs/formats.md. Results are bit-exact: every product is exact in float32
// and at most one addition rounds. Subnormals and signed zeros are kept.
#ifndef SLUICE_COMPUTE_DEQUANTIZE_H_
#define SLUICE_COMPUTE_DEQUANTIZE_H_

#include <cstdint>

#include "base/tensor_type.h"

namespace sluice {

// Decodes `elements` weights (a whole number of blocks) of a weight type.
// `blocks` needs no alignment. Pure; any thread.
void DequantizeRow(TensorType type, const void* blocks, int64_t elements, float* out);

}  // namespace sluice

#endif  // SLUICE_COMPUTE_DEQUANTIZE_H_
