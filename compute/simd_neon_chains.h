// Sixteen float lanes, the chains of the canonical sums, in four registers.
//
// The vocabulary of compute/simd_floats.h for NEON; the members are those of
// Avx512Chains. Linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_NEON_CHAINS_H_
#define SLUICE_COMPUTE_SIMD_NEON_CHAINS_H_

#include <arm_neon.h>

#include <cstdint>

#include "compute/simd_common.h"

namespace sluice {
namespace {

struct NeonChains {
  struct Value {
    float32x4_t of[4];  // chains 4 * i to 4 * i + 3
  };
  struct Mask {
    uint32x4_t of[4];
  };
  using Part = float32x4_t;
  static constexpr int kParts = 4;
  static constexpr int kOutputsOfOneRow = 4;
  static constexpr int kTileOutputs = 2;
  static constexpr int kTileRows = 2;

  static Value Zero() { return Set1(0.0f); }
  static Value Set1(float value) {
    const float32x4_t four = vdupq_n_f32(value);
    return {{four, four, four, four}};
  }
  static Value Load(const float* from) {
    return {{vld1q_f32(from), vld1q_f32(from + 4), vld1q_f32(from + 8), vld1q_f32(from + 12)}};
  }
  static void Store(float* to, Value a) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) vst1q_f32(to + 4 * i, a.of[i]);
  }
  static Value LoadF16(const uint16_t* from) {
    return {{LoadF16Part(from), LoadF16Part(from + 4), LoadF16Part(from + 8), LoadF16Part(from + 12)}};
  }
  static Value SetF16(uint16_t half) {
    const float32x4_t four = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half)));
    return {{four, four, four, four}};
  }
  static Value LoadBytes(const void* from) {
    const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(static_cast<const uint8_t*>(from)));
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
    return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
             vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
  }
  static void StoreF16(uint16_t* to, Value a) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) vst1_u16(to + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.of[i])));
  }

  static Value Add(Value a, Value b) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) a.of[i] = vaddq_f32(a.of[i], b.of[i]);
    return a;
  }
  static Value Sub(Value a, Value b) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) a.of[i] = vsubq_f32(a.of[i], b.of[i]);
    return a;
  }
  static Value Mul(Value a, Value b) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) a.of[i] = vmulq_f32(a.of[i], b.of[i]);
    return a;
  }
  static Value Div(Value a, Value b) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) a.of[i] = vdivq_f32(a.of[i], b.of[i]);
    return a;
  }
  static Value Negate(Value a) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) a.of[i] = vnegq_f32(a.of[i]);
    return a;
  }
  static Value Fma(Value a, Value b, Value c) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) c.of[i] = vfmaq_f32(c.of[i], a.of[i], b.of[i]);
    return c;
  }
  static Value NegatedFma(Value a, Value b, Value c) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) c.of[i] = vfmsq_f32(c.of[i], a.of[i], b.of[i]);
    return c;
  }
  static Value AddToExponent(Value p, Value t) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const uint32x4_t shifted = vshlq_n_u32(vreinterpretq_u32_f32(t.of[i]), 23);
      p.of[i] = vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p.of[i]), shifted));
    }
    return p;
  }
  static Mask Less(Value a, Value b) {
    Mask mask;
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) mask.of[i] = vcltq_f32(a.of[i], b.of[i]);
    return mask;
  }
  static Mask IsNan(Value a) {
    Mask mask;
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) mask.of[i] = vmvnq_u32(vceqq_f32(a.of[i], a.of[i]));
    return mask;
  }
  static Value Select(Mask mask, Value a, Value b) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) a.of[i] = vbslq_f32(mask.of[i], a.of[i], b.of[i]);
    return a;
  }

  static Part ZeroPart() { return vdupq_n_f32(0.0f); }
  static Part LoadPart(const void* from) { return vreinterpretq_f32_u8(vld1q_u8(static_cast<const uint8_t*>(from))); }
  static Part LoadF16Part(const void* from) { return vcvt_f32_f16(vreinterpret_f16_u16(LoadWords(from))); }
  static Part LoadBf16Part(const void* from) { return vreinterpretq_f32_u32(vshll_n_u16(LoadWords(from), 16)); }
  static Part FmaPart(Part a, Part b, Part c) { return vfmaq_f32(c, a, b); }
  static float SumParts(const Part parts[4]) { return Sum({{parts[0], parts[1], parts[2], parts[3]}}); }

  static float Sum(Value a) {
    const float32x4_t four = vaddq_f32(vaddq_f32(a.of[0], a.of[2]), vaddq_f32(a.of[1], a.of[3]));
    return vaddv_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
  }

  static Value LargerMagnitude(Value magnitudes, Value a) {
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const uint32x4_t bits = vreinterpretq_u32_f32(vabsq_f32(a.of[i]));
      magnitudes.of[i] = vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(magnitudes.of[i]), bits));
    }
    return magnitudes;
  }
  static uint32_t LargestBits(Value magnitudes) {
    const uint32x4_t low = vmaxq_u32(Bits(magnitudes.of[0]), Bits(magnitudes.of[1]));
    return vmaxvq_u32(vmaxq_u32(low, vmaxq_u32(Bits(magnitudes.of[2]), Bits(magnitudes.of[3]))));
  }
  static int32_t StoreCodes(Value a, int8_t* to) {
    const uint32x4_t magic = vdupq_n_u32(kRoundMagicBits);
    uint16x4_t words[4];
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) words[i] = vmovn_u32(vsubq_u32(Bits(a.of[i]), magic));
    const uint16x8_t low = vcombine_u16(words[0], words[1]), high = vcombine_u16(words[2], words[3]);
    const int8x16_t codes = vreinterpretq_s8_u8(vcombine_u8(vmovn_u16(low), vmovn_u16(high)));
    vst1q_s8(to, codes);
    return vaddlvq_s8(codes);
  }

 private:
  static constexpr uint32_t kRoundMagicBits = 0x4b400000;
  static_assert(kRoundMagic == 12582912.0f);

  static uint32x4_t Bits(float32x4_t a) { return vreinterpretq_u32_f32(a); }
  static uint16x4_t LoadWords(const void* from) {
    return vreinterpret_u16_u8(vld1_u8(static_cast<const uint8_t*>(from)));
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_NEON_CHAINS_H_
