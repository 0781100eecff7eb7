// The vector vocabulary of the NEON kernels: four outputs per register.
//
// For files compiled for ARMv8.2 with the dot product instructions; the members
// that the weight formats use are those of Avx512 (compute/simd_avx512.h).
// Codes stay signed, as the dot product wants them: code books and nothing else
// therefore leave out the offset that the panels of x86 carry. Internal
// linkage, for the reasons given there.
#ifndef SLUICE_COMPUTE_SIMD_NEON_H_
#define SLUICE_COMPUTE_SIMD_NEON_H_

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "compute/simd_common.h"

namespace sluice {
namespace {

SLUICE_INLINE int8x16_t AsBytes(int32x4_t a) { return vreinterpretq_s8_s32(a); }
SLUICE_INLINE uint8x16_t AsUnsignedBytes(int32x4_t a) { return vreinterpretq_u8_s32(a); }
SLUICE_INLINE int32x4_t FromBytes(int8x16_t a) { return vreinterpretq_s32_s8(a); }
SLUICE_INLINE int32x4_t FromBytes(uint8x16_t a) { return vreinterpretq_s32_u8(a); }
SLUICE_INLINE int64x2_t AsHalves(int32x4_t a) { return vreinterpretq_s64_s32(a); }
SLUICE_INLINE int32x4_t FromHalves(int64x2_t a) { return vreinterpretq_s32_s64(a); }

struct NeonProducts;

struct Neon {
  using Int = int32x4_t;
  using Float = float32x4_t;
  static constexpr int kLanes = 4;
  static constexpr int kWideBias = 0;
  template <int kMaxCode, bool kWide>
  using Products = NeonProducts;

  static Int Set1(int32_t value) { return vdupq_n_s32(value); }
  static Int And(Int a, Int b) { return vandq_s32(a, b); }
  static Int Or(Int a, Int b) { return vorrq_s32(a, b); }
  static Int Xor(Int a, Int b) { return veorq_s32(a, b); }
  static Int Merge(Int mask, Int a, Int b) { return vbslq_s32(vreinterpretq_u32_s32(mask), a, b); }
  static Int Add(Int a, Int b) { return vaddq_s32(a, b); }
  static Int Sub(Int a, Int b) { return vsubq_s32(a, b); }
  template <int kBits>
  static Int ShiftLeft(Int a) {
    if constexpr (kBits == 0) return a;
    return vshlq_n_s32(a, kBits);
  }
  template <int kBits>
  static Int ShiftRight(Int a) {
    if constexpr (kBits == 0) {
      return a;
    } else {
      return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), kBits));
    }
  }
  static Int AddBytes(Int a, Int b) { return FromBytes(vaddq_s8(AsBytes(a), AsBytes(b))); }
  static Int BytesEqual(Int a, Int b) { return FromBytes(vceqq_s8(AsBytes(a), AsBytes(b))); }
  static Int Max(Int a, Int b) { return vmaxq_s32(a, b); }

  template <int k0, int k1, int k2, int k3>
  static Int ShuffleBytes(Int a) {
    // Indices beyond the register give zero.
    const uint8x16_t in_lane = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    const uint8x16_t indices = vaddq_u8(in_lane, AsUnsignedBytes(Set1(PackBytes(k0, k1, k2, k3))));
    return FromBytes(vqtbl1q_s8(AsBytes(a), indices));
  }
  static Int TableOf(const int8_t* entries, int8_t added) {
    return FromBytes(vaddq_s8(vld1q_s8(entries), vdupq_n_s8(added)));
  }
  static Int LookupLow(Int table, Int bytes) {
    return FromBytes(vqtbl1q_s8(AsBytes(table), vandq_u8(AsUnsignedBytes(bytes), vdupq_n_u8(0x0f))));
  }
  static Int LookupHigh(Int table, Int bytes) {
    return FromBytes(vqtbl1q_s8(AsBytes(table), vshrq_n_u8(AsUnsignedBytes(bytes), 4)));
  }

  // Lane i of out[k] is dword k of row i.
  static void Transpose16(const uint8_t* base, size_t stride, Int out[4]) {
    const Int a = LoadBytes(base), b = LoadBytes(base + stride);
    const Int c = LoadBytes(base + 2 * stride), d = LoadBytes(base + 3 * stride);
    const int64x2_t even_ab = AsHalves(vtrn1q_s32(a, b)), odd_ab = AsHalves(vtrn2q_s32(a, b));
    const int64x2_t even_cd = AsHalves(vtrn1q_s32(c, d)), odd_cd = AsHalves(vtrn2q_s32(c, d));
    out[0] = FromHalves(vzip1q_s64(even_ab, even_cd));
    out[1] = FromHalves(vzip1q_s64(odd_ab, odd_cd));
    out[2] = FromHalves(vzip2q_s64(even_ab, even_cd));
    out[3] = FromHalves(vzip2q_s64(odd_ab, odd_cd));
  }
  static void Transpose32(const uint8_t* base, size_t stride, Int out[8]) {
    Transpose16(base, stride, out);
    Transpose16(base + 16, stride, out + 4);
  }
  static Int GatherDwords(const uint8_t* base, size_t stride) {
    const Int lanes = {LoadDword(base), LoadDword(base + stride), LoadDword(base + 2 * stride),
                       LoadDword(base + 3 * stride)};
    return lanes;
  }

  // Sixteen bytes at any address.
  static Int LoadBytes(const void* from) { return FromBytes(vld1q_u8(static_cast<const uint8_t*>(from))); }

  // 32 codes from grid entries, negated where the bit is set.
  template <int>
  static void StoreSigned(const uint64_t groups[4], uint32_t signs, uint8_t* to) {
    SLUICE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t negative = BytesOfBits(signs >> (16 * i));
      const uint8x16_t codes = veorq_u8(Pair(groups + 2 * i), negative);
      vst1q_u8(to + 16 * i, vsubq_u8(codes, negative));
    }
  }
  // Eightfold grid entries plus one, or minus one where the bit is set.
  static void StoreWithDelta(const uint64_t groups[4], uint32_t negative, uint8_t* to) {
    SLUICE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t delta = vorrq_u8(BytesOfBits(negative >> (16 * i)), vdupq_n_u8(1));
      vst1q_u8(to + 16 * i, vaddq_u8(vshlq_n_u8(Pair(groups + 2 * i), 3), delta));
    }
  }

  static Float HalfToFloat(Int a) { return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_s32(a)))); }
  static Float BitsToFloat(Int a) { return vreinterpretq_f32_s32(a); }
  static Float ToFloat(Int a) { return vcvtq_f32_s32(a); }
  static Float SetFloat(float value) { return vdupq_n_f32(value); }
  static Float ZeroFloat() { return vdupq_n_f32(0.0f); }
  static Float MulFloat(Float a, Float b) { return vmulq_f32(a, b); }
  static Float AddFloat(Float a, Float b) { return vaddq_f32(a, b); }
  static Float Fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  static void StoreFloat(float* out, Float a) { vst1q_f32(out, a); }

 private:
  // Byte i is all ones where bit i is set.
  static uint8x16_t BytesOfBits(uint32_t bits) {
    const uint8x16_t bit_of_byte = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t spread =
        vcombine_u8(vdup_n_u8(static_cast<uint8_t>(bits)), vdup_n_u8(static_cast<uint8_t>(bits >> 8)));
    return vtstq_u8(spread, bit_of_byte);
  }
  static uint8x16_t Pair(const uint64_t groups[2]) {
    return vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(groups[0]), vcreate_u64(groups[1])));
  }
};

// Sub-scales, one per lane.
struct NeonProducts {
  template <int kByte>
  static int32x4_t UnsignedScale(int32x4_t bytes) {
    return Neon::And(Neon::ShiftRight<8 * kByte>(bytes), Neon::Set1(0xff));
  }
  template <int kByte>
  static int32x4_t SignedScale(int32x4_t bytes) {
    return vshrq_n_s32(Neon::ShiftLeft<24 - 8 * kByte>(bytes), 24);
  }
};

// Neon, but for weight bytes: 16 or 32 bytes of four rows as matrices of two
// rows by eight bytes, which is what the matrix products want. out[2 * i] has
// bytes 8 * i to 8 * i + 7 of rows 0 and 1, out[2 * i + 1] of rows 2 and 3.
struct NeonPairs : Neon {
  static void Transpose16(const uint8_t* base, size_t stride, Int out[4]) {
    const int64x2_t a = AsHalves(LoadBytes(base)), b = AsHalves(LoadBytes(base + stride));
    const int64x2_t c = AsHalves(LoadBytes(base + 2 * stride)), d = AsHalves(LoadBytes(base + 3 * stride));
    out[0] = FromHalves(vzip1q_s64(a, b));
    out[1] = FromHalves(vzip1q_s64(c, d));
    out[2] = FromHalves(vzip2q_s64(a, b));
    out[3] = FromHalves(vzip2q_s64(c, d));
  }
  static void Transpose32(const uint8_t* base, size_t stride, Int out[8]) {
    Transpose16(base, stride, out);
    Transpose16(base + 16, stride, out + 4);
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_NEON_H_
