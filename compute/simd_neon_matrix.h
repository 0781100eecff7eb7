// Products of many rows with the matrix instructions of NEON: two outputs by
// two rows by eight codes each.
//
// For files compiled with I8MM. The activations of a slice are laid out in pairs
// of rows once for all quads that meet them.
#ifndef SLUICE_COMPUTE_SIMD_NEON_MATRIX_H_
#define SLUICE_COMPUTE_SIMD_NEON_MATRIX_H_

#include <cstdint>

#include "compute/simd_neon_panel.h"

namespace sluice {
namespace {

// See compute/simd_neon_panel.h. Registers 2 * i and 2 * i + 1 of R hold the
// sums of rows 2 * i and 2 * i + 1: outputs 0 and 1, each with both rows, then
// outputs 2 and 3.
struct MatrixProducts {
  using Codes = NeonPairs;
  static constexpr int kRowStep = 2;
  static constexpr int kScaleForms = 2;
  struct Values {
    int8x16_t pairs[kChunkRows / 2][kCodeDwords / 2];  // eight values of one row, then of the other
  };

  template <class Block>
  static void Prepare(const Block* const* blocks, int n_rows, Values* values) {
    for (int r = 0; r < n_rows; r += 2) {
      const int8_t* even = ValuesOf(*blocks[r]);
      const int8_t* odd = ValuesOf(*blocks[r + 1]);
      int8x16_t* pairs = values->pairs[r / 2];
      for (int i = 0; i < kCodeDwords / 4; ++i) {
        const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(even + 16 * i));
        const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(odd + 16 * i));
        pairs[2 * i] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
        pairs[2 * i + 1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
      }
    }
  }
  template <int kGroups>
  static SLUICE_INLINE void SetScales(const int32x4_t* from, int32x4_t* to) {
    SLUICE_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      to[2 * g] = vzip1q_s32(from[g], from[g]);
      to[2 * g + 1] = vzip2q_s32(from[g], from[g]);
    }
  }
  static SLUICE_INLINE int8x16_t ScaleBytes(int32x4_t scale, int k) {
    const int32x4_t bytes = Neon::ShuffleBytes<0, 0, 0, 0>(scale);
    return AsBytes(k % 2 == 0 ? vzip1q_s32(bytes, bytes) : vzip2q_s32(bytes, bytes));
  }
  // From a register for four bytes of each output to two for eight.
  static SLUICE_INLINE void SetCommon(int32x4_t* common) {
    SLUICE_UNROLL
    for (int i = 0; i < 8; i += 2) {
      const int32x4_t a = common[i], b = common[i + 1];
      common[i] = vzip1q_s32(a, b);
      common[i + 1] = vzip2q_s32(a, b);
    }
  }

  template <int kDwords, int R>
  static SLUICE_INLINE void AddDots(const int32x4_t* codes, const Values& values, int row, int first,
                                    int32x4_t (&sums)[R]) {
    const int8x16_t(*pairs)[kCodeDwords / 2] = values.pairs + row / 2;
    SLUICE_UNROLL
    for (int k = 0; k < kDwords; k += 2) {
      SLUICE_UNROLL
      for (int p = 0; p < R / 2; ++p) {
        const int8x16_t two_rows = pairs[p][(first + k) / 2];
        sums[2 * p] = vmmlaq_s32(sums[2 * p], AsBytes(codes[k]), two_rows);
        sums[2 * p + 1] = vmmlaq_s32(sums[2 * p + 1], AsBytes(codes[k + 1]), two_rows);
      }
    }
  }
  template <int R>
  static SLUICE_INLINE void AddScaled(const int32x4_t* scale, const int32x4_t (&parts)[R], int32x4_t (&sums)[R]) {
    SLUICE_UNROLL
    for (int i = 0; i < R; ++i) sums[i] = vmlaq_s32(sums[i], parts[i], scale[i % 2]);
  }
  template <int R>
  static SLUICE_INLINE void AddScaled(const int32x4_t* scale, const int32_t (&factors)[R], const int32x4_t (&parts)[R],
                                      int32x4_t (&sums)[R]) {
    SLUICE_UNROLL
    for (int i = 0; i < R; i += 2) {
      const int32x4_t of_rows = {factors[i], factors[i + 1], factors[i], factors[i + 1]};
      sums[i] = vmlaq_s32(sums[i], parts[i], vmulq_s32(scale[0], of_rows));
      sums[i + 1] = vmlaq_s32(sums[i + 1], parts[i + 1], vmulq_s32(scale[1], of_rows));
    }
  }
  template <int R>
  static SLUICE_INLINE void Finish(int32x4_t (&sums)[R]) {
    SLUICE_UNROLL
    for (int i = 0; i < R; i += 2) {
      const int32x4_t a = sums[i], b = sums[i + 1];
      sums[i] = vuzp1q_s32(a, b);
      sums[i + 1] = vuzp2q_s32(a, b);
    }
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_NEON_MATRIX_H_
