// How the weight formats of simd_kquants.h, simd_blocks32.h and
// simd_codebooks.h become quads of NEON: what differs from the panels of x86.
//
// Multipliers of group sums stay the bytes they are, four groups per lane, for
// the dot product; see GroupBytes in compute/simd_neon_panel.h. They lie where
// the formats put the first of the pairs that they would become.
#ifndef SLUICE_COMPUTE_SIMD_NEON_FORMATS_H_
#define SLUICE_COMPUTE_SIMD_NEON_FORMATS_H_

#include <cstddef>
#include <cstdint>

#include "compute/simd_blocks32.h"
#include "compute/simd_codebooks.h"
#include "compute/simd_kquants.h"
#include "compute/simd_neon.h"

namespace sluice {
namespace {

template <>
SLUICE_INLINE void SetPairs<Neon>(int32x4_t bytes, int32x4_t* pairs) {
  pairs[0] = bytes;
}
template <>
SLUICE_INLINE void SetDoubledPairs<Neon>(int32x4_t bytes, int32x4_t* pairs) {
  pairs[0] = bytes;
}
template <>
SLUICE_INLINE void SetSignedPairs<Neon>(int32x4_t bytes, int32x4_t* pairs) {
  pairs[0] = bytes;
}
template <>
SLUICE_INLINE void SetDoubledSignedPairs<Neon>(int32x4_t bytes, int32x4_t* pairs) {
  pairs[0] = bytes;
}

// Bytes can be shifted by themselves.
template <>
SLUICE_INLINE int32x4_t HighNibbles<Neon>(int32x4_t bytes) {
  return FromBytes(vshrq_n_u8(AsUnsignedBytes(bytes), 4));
}
template <>
SLUICE_INLINE int32x4_t HighNibbles<NeonPairs>(int32x4_t bytes) {
  return HighNibbles<Neon>(bytes);
}

// The mask has a lane for each output even here; register 2 * i + h holds codes
// 8 * i to 8 * i + 7 of outputs 2 * h and 2 * h + 1.
template <>
SLUICE_INLINE void AddFifthBits<NeonPairs>(int32x4_t mask, int32x4_t* codes) {
  const uint8x16_t bit_of_byte = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t outputs = {0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4};
  SLUICE_UNROLL
  for (int k = 0; k < 8; ++k) {
    const uint8x16_t of_code = vaddq_u8(outputs, vdupq_n_u8(static_cast<uint8_t>(8 * (k % 2) + k / 2)));
    const uint8x16_t bits = vtstq_u8(vqtbl1q_u8(AsUnsignedBytes(mask), of_code), bit_of_byte);
    codes[k] = FromBytes(vorrq_u8(AsUnsignedBytes(codes[k]), vandq_u8(bits, vdupq_n_u8(0x10))));
  }
}

// What the codes of a quad exceed the true ones by.
template <class F>
constexpr int kQuadOffset = F::kWide ? Neon::kWideBias : F::kOffset;
template <class Row>
constexpr int kQuadOffset<CodebookFormat<Row>> = 0;

// With many rows sub-scales are multiplied into codes where the products fit a
// byte: at most 15 * 3, and of -32 * -4 to 31 * -4 the negated ones.
enum class Folding { kNone, kPlain, kNegated };
template <class F>
constexpr Folding kFolding = Folding::kNone;
template <>
constexpr Folding kFolding<FormatQ2K> = Folding::kPlain;
template <>
constexpr Folding kFolding<FormatQ3K> = Folding::kNegated;

// Whether the header holds bytes that the parts have in common.
template <class F>
constexpr bool kHasCommonBytes = false;
template <>
constexpr bool kHasCommonBytes<FormatQ3K> = true;
template <>
constexpr bool kHasCommonBytes<FormatQ5K> = true;

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_NEON_FORMATS_H_
