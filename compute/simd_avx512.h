// The vector vocabulary of the AVX-512 kernels: sixteen outputs per register.
//
// For files compiled with AVX-512 F, BW, VL, DQ and VNNI only. Everything has
// internal linkage: code compiled for one instruction set must never be the
// copy of a shared function that the linker keeps.
#ifndef SLUICE_COMPUTE_SIMD_AVX512_H_
#define SLUICE_COMPUTE_SIMD_AVX512_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "compute/simd_common.h"

namespace sluice {
namespace {

template <int kMaxCode, bool kWide>
struct Avx512Products;

struct Avx512 {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kTileRows = 8;
  static constexpr size_t kStreamedRowBytes = 3600;
  // Signed codes become unsigned by this addition; the products take it off again.
  static constexpr int kWideBias = 128;
  template <int kMaxCode, bool kWide>
  using Products = Avx512Products<kMaxCode, kWide>;

  static Int Set1(int32_t value) { return _mm512_set1_epi32(value); }
  static Int Broadcast(const void* dword) { return _mm512_set1_epi32(LoadDword(dword)); }
  static Int And(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int Or(Int a, Int b) { return _mm512_or_si512(a, b); }
  static Int Xor(Int a, Int b) { return _mm512_xor_si512(a, b); }
  // Bits of `a` where `mask` is set, of `b` elsewhere.
  static Int Merge(Int mask, Int a, Int b) {
    return _mm512_ternarylogic_epi32(b, a, mask, 0xd8);  // the mask last: what comes first is overwritten
  }
  static Int Add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int Sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  static Int Mul(Int a, Int b) { return _mm512_mullo_epi32(a, b); }
  template <int kBits>
  static Int ShiftLeft(Int a) {
    return _mm512_slli_epi32(a, kBits);
  }
  template <int kBits>
  static Int ShiftRight(Int a) {
    return _mm512_srli_epi32(a, kBits);
  }
  template <int kBits>
  static Int ShiftRightSigned(Int a) {
    return _mm512_srai_epi32(a, kBits);
  }
  template <int kBits>
  static Int WordsShiftRightSigned(Int a) {
    return _mm512_srai_epi16(a, kBits);
  }
  static Int AddBytes(Int a, Int b) { return _mm512_add_epi8(a, b); }
  static Int BytesEqual(Int a, Int b) { return _mm512_movm_epi8(_mm512_cmpeq_epi8_mask(a, b)); }
  static Int Max(Int a, Int b) { return _mm512_max_epi32(a, b); }

  // Byte i of each dword of the result is byte k_i of that dword; -1 gives 0.
  template <int k0, int k1, int k2, int k3>
  static Int ShuffleBytes(Int a) {
    const Int order = OrderOf<k0, k1, k2, k3>();  // no template arguments inside: emulated, these may be macros
    return _mm512_shuffle_epi8(a, order);
  }
  template <int k0, int k1, int k2, int k3>
  static Int OrderOf() {
    const Int in_lane = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    return _mm512_add_epi8(in_lane, _mm512_set1_epi32(PackBytes(k0, k1, k2, k3)));
  }
  // A table of sixteen bytes, `added` put on each, for the look-ups below.
  static Int TableOf(const int8_t* entries, int8_t added) {
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(entries));
    return _mm512_add_epi8(_mm512_broadcast_i32x4(table), _mm512_set1_epi8(added));
  }
  // The entry that the low, or high, nibble of each byte names.
  static Int LookupLow(Int table, Int bytes) {
    return _mm512_shuffle_epi8(table, _mm512_and_si512(bytes, _mm512_set1_epi8(0x0f)));
  }
  static Int LookupHigh(Int table, Int bytes) { return LookupLow(table, _mm512_srli_epi32(bytes, 4)); }
  // Each byte 0..15 to table[byte].
  static Int Lookup(const int8_t* table, Int indices) {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), indices);
  }
  // The sums of two products each of unsigned and signed bytes; they must fit int16.
  static Int MaddBytes(Int a, Int b) { return _mm512_maddubs_epi16(a, b); }
  // total + the two products of int16 in each lane.
  static Int MaddPairs(Int total, Int a, Int b) { return _mm512_dpwssd_epi32(total, a, b); }

  // Rows of 16 bytes at `base` + lane * stride, as four dwords per lane.
  static void Transpose16(const uint8_t* base, size_t stride, Int out[4]) {
    Int rows[4];
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) rows[i] = LoadQuarters(base + i * stride, 4 * stride);
    TransposeInLanes(rows, out);
  }
  // Rows of 32 bytes, as eight dwords per lane.
  static void Transpose32(const uint8_t* base, size_t stride, Int out[8]) {
    Int rows[8], mixed[8];
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) {
      rows[i] = LoadHalves(base + i * stride, base + (i + 4) * stride);
      rows[4 + i] = LoadHalves(base + (i + 8) * stride, base + (i + 12) * stride);
    }
    TransposeInLanes(rows, mixed);
    TransposeInLanes(rows + 4, mixed + 4);
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) {
      out[i] = _mm512_shuffle_i32x4(mixed[i], mixed[4 + i], 0x88);
      out[4 + i] = _mm512_shuffle_i32x4(mixed[i], mixed[4 + i], 0xdd);
    }
  }
  // The mask of a gather. Given zeros to keep in masked lanes, a gather need not wait for what was in its register;
  // a compiler that sees that no lane is masked leaves the zeros out (g++ 12; iq1 then takes up to 3 % longer).
  static __mmask16 EveryLane() {
    __mmask16 mask = 0xffff;
    asm("" : "+r"(mask));
    return mask;
  }
  // So many dwords of each row from `base` on, a few of them by gathers.
  template <int kCount, size_t kRoom>
  static void TakeFields(const uint8_t* base, size_t stride, Int (*fields)[kRoom]) {
    static_assert(kCount <= static_cast<int>(kRoom));
    constexpr int kEights = kCount / 8, kFours = kCount % 8 / 4;
    SLUICE_UNROLL
    for (int i = 0; i < kEights; ++i) Transpose32(base + 32 * i, stride, *fields + 8 * i);
    if constexpr (kFours > 0) Transpose16(base + 32 * kEights, stride, *fields + 8 * kEights);
    SLUICE_UNROLL
    for (int i = 8 * kEights + 4 * kFours; i < kCount; ++i) (*fields)[i] = GatherDwords(base + 4 * i, stride);
  }
  // Sums of groups of kDwords dwords of activations, times `factor`; group_sums are those of 16, as many as fit a
  // block.
  template <int kDwords>
  static void SetStarts(const int16_t* group_sums, int factor, int32_t* starts) {
    const __m256i sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(group_sums));
    if constexpr (kDwords == 8) {
      const __m256i wide = _mm256_madd_epi16(sums, _mm256_set1_epi16(static_cast<int16_t>(factor)));
      _mm256_store_si256(reinterpret_cast<__m256i*>(starts), wide);
    } else {
      _mm512_store_si512(starts, MaddPairs(Set1(0), _mm512_cvtepu16_epi32(sums), Set1(factor)));
    }
  }
  // The dword at `base` + lane * stride, which is below 2^27 (src/model/weight_layout).
  static Int GatherDwords(const uint8_t* base, size_t stride) {
    const Int lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const Int offsets = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(static_cast<int32_t>(stride)));
    return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), EveryLane(), offsets, base, 1);
  }
  // The halves there; two bytes behind each one are readable.
  static Float GatherHalves(const uint8_t* base, size_t stride) { return HalfToFloat(GatherDwords(base, stride)); }

  // From the low half of each lane.
  static Float HalfToFloat(Int a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }
  static Float BitsToFloat(Int a) { return _mm512_castsi512_ps(a); }
  static Float ToFloat(Int a) { return _mm512_cvtepi32_ps(a); }
  static Float BroadcastFloat(const float* value) { return _mm512_set1_ps(*value); }
  static Float SetFloat(float value) { return _mm512_set1_ps(value); }
  static Float ZeroFloat() { return _mm512_setzero_ps(); }
  static Float MulFloat(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float AddFloat(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float Fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static void StoreFloat(float* out, Float a) { _mm512_storeu_ps(out, a); }

 private:
  static Int LoadHalves(const uint8_t* low, const uint8_t* high) {
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low));
    const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high));
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
  }
  static Int LoadQuarters(const uint8_t* base, size_t stride) {
    Int all = _mm512_castsi128_si512(LoadQuarter(base));
    all = _mm512_mask_broadcast_i32x4(all, 0x00f0, LoadQuarter(base + stride));
    all = _mm512_mask_broadcast_i32x4(all, 0x0f00, LoadQuarter(base + 2 * stride));
    return _mm512_mask_broadcast_i32x4(all, 0xf000, LoadQuarter(base + 3 * stride));
  }
  static __m128i LoadQuarter(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
  // 4 x 4 dwords in each 128-bit lane.
  static void TransposeInLanes(const Int in[4], Int out[4]) {
    const Int a = _mm512_unpacklo_epi32(in[0], in[1]);
    const Int b = _mm512_unpacklo_epi32(in[2], in[3]);
    const Int c = _mm512_unpackhi_epi32(in[0], in[1]);
    const Int d = _mm512_unpackhi_epi32(in[2], in[3]);
    out[0] = _mm512_unpacklo_epi64(a, b);
    out[1] = _mm512_unpackhi_epi64(a, b);
    out[2] = _mm512_unpacklo_epi64(c, d);
    out[3] = _mm512_unpackhi_epi64(c, d);
  }
};

// Exact sums of products of unsigned codes and int8 activations, four to a
// lane. A step of kStepDwords dwords ends in AddScaled or AddPlain.
template <int kMaxCode, bool kWide>
struct Avx512Products {
  using Int = __m512i;
  // Sixteen products that fit int16 allow one instruction to scale and add.
  static constexpr bool kFitsWord = kMaxCode * 127 * 16 <= 32767;
  static constexpr int StepDwords(int group_dwords) {
    return kFitsWord && kMaxCode * 127 * 4 * group_dwords > 32767 ? 4 : group_dwords;
  }

  static Int Dot(Int sum, Int codes, Int values) { return _mm512_dpbusd_epi32(sum, codes, values); }
  static Int AddPlain(Int total, Int sum) { return _mm512_add_epi32(total, sum); }
  static Int AddScaled(Int total, Int sum, Int scale) {
    if constexpr (kFitsWord) return _mm512_dpwssd_epi32(total, sum, scale);
    return _mm512_add_epi32(total, _mm512_mullo_epi32(sum, scale));
  }
  // A sub-scale times a factor of activations.
  static Int Times(Int scale, int16_t factor) {
    if constexpr (kFitsWord) return _mm512_mullo_epi16(scale, _mm512_set1_epi32(factor));
    return _mm512_mullo_epi32(scale, _mm512_set1_epi32(factor));
  }
  // A sub-scale as AddScaled wants it, from one byte of each lane.
  template <int kByte>
  static Int UnsignedScale(Int bytes) {
    return Avx512::ShuffleBytes<kByte, -1, -1, -1>(bytes);
  }
  template <int kByte>
  static Int SignedScale(Int bytes) {
    // No template arguments inside: without optimisation these may be macros.
    const Int in_word = Avx512::ShuffleBytes<-1, kByte, -1, -1>(bytes);
    const Int in_dword = Avx512::ShuffleBytes<-1, -1, -1, kByte>(bytes);
    if constexpr (kFitsWord) return _mm512_srai_epi16(in_word, 8);
    return _mm512_srai_epi32(in_dword, 24);
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_AVX512_H_
