// Weights in the order that kernels read fastest, for matrices that stay in memory.
//
// Sixteen neighbouring rows are a panel. A panel is put together block by block: of each block first what goes before
// its dwords (a float16, or nothing) of all sixteen rows, then its first dword of all sixteen, its second, and so on.
// So a register holds the same field of sixteen rows by one load, and a panel is read from one end to the other: as
// filed, rows are apart, and what to look for in them has to be transposed (docs/experiments.md has what that costs).
// The bytes of a panel stay within it; a matrix takes the same room. Of iq2_xs and iq2_s
// each index becomes a label before, which permutations of bytes look up in fewer steps (compute/codebooks.h), and of
// iq2_xs each four words of labels and signs a dword of their low bytes and one of their high bytes.
#ifndef SLUICE_COMPUTE_INTERLEAVE_H_
#define SLUICE_COMPUTE_INTERLEAVE_H_

#include <cstddef>
#include <cstdint>

#include "base/tensor_type.h"

namespace sluice {

inline constexpr int64_t kInterleavedRows = 16;

// Of one panel: kInterleavedRows rows of n_in weights, in place. `scratch` has room for the panel. The type's blocks
// are longer than four bytes.
void InterleavePanel(TensorType type, int64_t n_in, uint8_t* panel, uint8_t* scratch);

}  // namespace sluice

#endif  // SLUICE_COMPUTE_INTERLEAVE_H_
