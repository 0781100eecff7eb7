// Weights in the order that kernels read fastest, for matrices that stay in memory.
//
// Sixteen neighbouring rows are a panel. A panel is put together block by block: of each block first what goes before
// its dwords (a float16, or nothing) of all sixteen rows, then its first dword of all sixteen, its second, and so on.
// So a register holds the same field of sixteen rows by one load, and a panel is read from one end to the other: as
// filed, rows are apart, and what to look for in them has to be transposed (docs/experiments.md has what that costs).
// The bytes of a panel stay within it; a matrix takes the same room. Of iq2_xs, iq2_s, iq1_s and iq1_m each index
// becomes a label before, which permutations of bytes look up in fewer steps (compute/codebook_labels.h). Bits that do
// not fit a label's byte stand in bytes of their own:
//   iq2_xs  of each four words, a dword of lower bytes and one of upper bytes, a bit of label below seven signs
//   iq2_s   two bits in each byte of the dword that has them for four parts, those of the first part lowest, in odd
//           bytes highest
//   iq1_s   three bits in each byte of the dword that has them for two parts, those of the first part from bit 0 on, in
//           odd bytes from bit 2 on, those of the second part above; scale and sign of delta in bits 6 to 9 and 22 to
//           25
//   iq1_m   three bits in the lower nibble, or of the second part in the upper one, in odd bytes the other way round;
//           above them the signs of delta, that of the first part in the lower nibble of all bytes
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
