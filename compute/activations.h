// Activations in the form that a weight type's product wants.
//
// A row is quantised once per sweep and layer and then used by every product
// that reads it. Scales are float32. A row of `elements` occupies
// ActivationRowBytes() bytes at 64-byte alignment.
//
//   kF32        float32 as it is (F32, F16 and BF16 weights; --compute float)
//   kQ8Block32  int8 in blocks of 32: types with 32-element blocks
//   kQ8Block256 int8 in blocks of 256: q2_K, q3_K and code-book types
//   kQ8Groups256 int8 in blocks of 256 with a small factor for each 32 codes:
//               q4_K, q5_K and q6_K, whose own rounding is finer than what the
//               largest of 256 values leaves to the others (docs/experiments.md)
//
// Quantisation of a block, with the same bits in every instruction set:
//   1. amax = max|x|. The bits of |x| compare like integers, NaN above all.
//   2. amax inf or NaN: scale NaN, all codes 0, so that the product of any
//      weight with the block is NaN and an overflow upstream is not hidden.
//   3. amax < 2^-100 (zeros too): scale 0, all codes 0.
//   4. else scale = amax / 127, inverse = 127 / amax, both rounded float32
//      quotients, code = nearest even integer to the rounded product
//      x * inverse. It cannot leave [-127, 127]: no clamp is needed.
// For kQ8Groups256 the fourth step is: scale = amax / 508; the factor f of 32
// values is the number of quarters of amax that their largest magnitude needs,
// 1 to 4, with the products amax * 0.25, 0.5 and 0.75 rounded; code = nearest even
// integer to the rounded product x * ((508 / f) / amax), 508 / f being a constant.
// A value is scale * f * code.
// Padding and unused blocks are zero bytes, so rows compare with memcmp except
// for the bits of a NaN scale.
#ifndef SLUICE_COMPUTE_ACTIVATIONS_H_
#define SLUICE_COMPUTE_ACTIVATIONS_H_

#include <cstddef>
#include <cstdint>

#include "base/tensor_type.h"

namespace sluice {

enum class ActivationFormat { kF32 = 0, kQ8Block32 = 1, kQ8Block256 = 2, kQ8Groups256 = 3 };
inline constexpr int kActivationFormats = 4;
inline constexpr int kLargestFactor = 4;
// By factor - 1: what the largest of a block becomes in codes of that factor.
constexpr float kFactorSteps[kLargestFactor] = {508.0f, 254.0f, 508.0f / 3.0f, 127.0f};

// Both formats of 256.
struct alignas(64) Q8Block256 {
  float scale;
  int16_t group_sums[16];  // sum of values[16 * g .. 16 * g + 15], times their factor
  uint8_t magnitudes[16];  // an eighth of the sum of magnitudes of sixteen values, rounded up
  int8_t factors[8];       // of 32 values; all 1 in kQ8Block256
  uint8_t padding[4];
  int8_t values[256];
};
static_assert(sizeof(Q8Block256) == 320);

// Eight blocks of 32 side by side, so that vectors load whole. A row whose
// block count is no multiple of eight ends in a partly used one; unused blocks
// are zero.
struct alignas(64) Q8Block32x8 {
  float scales[8];
  int32_t sums[8];  // sum of the 32 values of each block
  int8_t values[8][32];
};
static_assert(sizeof(Q8Block32x8) == 320);

// Bytes of a row, a multiple of 64. `elements` is a multiple of the block length.
size_t ActivationRowBytes(ActivationFormat format, int64_t elements);

// Sets the magnitudes of a block whose codes are set.
void SetMagnitudes(Q8Block256* block);

// The entries of KernelSet::quantize. `out` has ActivationRowBytes() bytes. The
// portable reference; kernel sets have faster versions with the same bits.
void CopyF32(const float* x, int64_t elements, void* out);
void QuantizeQ8Block32(const float* x, int64_t elements, void* out);
void QuantizeQ8Block256(const float* x, int64_t elements, void* out);
void QuantizeQ8Groups256(const float* x, int64_t elements, void* out);

// out[i] = x[i] - scale * factor * code: what the quantised row `quantized` of `x` lost.
// `format` is one of the 8-bit ones.
void QuantizationRemainder(ActivationFormat format, const float* x, const void* quantized, int64_t elements,
                           float* out);

}  // namespace sluice

#endif  // SLUICE_COMPUTE_ACTIVATIONS_H_
