// The vector vocabulary of the AVX2 kernels: eight outputs per register.
//
// For files compiled with AVX2, FMA and F16C only; the members are those of
// Avx512 (compute/simd_avx512.h). Internal linkage, for the same reason.
#ifndef SLUICE_COMPUTE_SIMD_AVX2_H_
#define SLUICE_COMPUTE_SIMD_AVX2_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "compute/simd_common.h"

namespace sluice {
namespace {

template <int kMaxCode, bool kWide>
struct Avx2Products;

struct Avx2 {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kTileRows = 4;
  static constexpr size_t kStreamedRowBytes = 4000;
  static constexpr int kWideBias = 0;
  template <int kMaxCode, bool kWide>
  using Products = Avx2Products<kMaxCode, kWide>;

  static Int Set1(int32_t value) { return _mm256_set1_epi32(value); }
  static Int Broadcast(const void* dword) { return _mm256_set1_epi32(LoadDword(dword)); }
  static Int And(Int a, Int b) { return _mm256_and_si256(a, b); }
  static Int Or(Int a, Int b) { return _mm256_or_si256(a, b); }
  static Int Xor(Int a, Int b) { return _mm256_xor_si256(a, b); }
  static Int Merge(Int mask, Int a, Int b) {
    return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
  }
  static Int Add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static Int Sub(Int a, Int b) { return _mm256_sub_epi32(a, b); }
  static Int Mul(Int a, Int b) { return _mm256_mullo_epi32(a, b); }
  template <int kBits>
  static Int ShiftLeft(Int a) {
    return _mm256_slli_epi32(a, kBits);
  }
  template <int kBits>
  static Int ShiftRight(Int a) {
    return _mm256_srli_epi32(a, kBits);
  }
  template <int kBits>
  static Int WordsShiftRightSigned(Int a) {
    return _mm256_srai_epi16(a, kBits);
  }
  static Int AddBytes(Int a, Int b) { return _mm256_add_epi8(a, b); }
  static Int BytesEqual(Int a, Int b) { return _mm256_cmpeq_epi8(a, b); }
  static Int Max(Int a, Int b) { return _mm256_max_epi32(a, b); }

  template <int k0, int k1, int k2, int k3>
  static Int ShuffleBytes(Int a) {
    const Int in_lane = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
    return _mm256_shuffle_epi8(a, _mm256_add_epi8(in_lane, _mm256_set1_epi32(PackBytes(k0, k1, k2, k3))));
  }
  static Int TableOf(const int8_t* entries, int8_t added) {
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(entries));
    return _mm256_add_epi8(_mm256_broadcastsi128_si256(table), _mm256_set1_epi8(added));
  }
  static Int LookupLow(Int table, Int bytes) {
    return _mm256_shuffle_epi8(table, _mm256_and_si256(bytes, _mm256_set1_epi8(0x0f)));
  }
  static Int LookupHigh(Int table, Int bytes) { return LookupLow(table, _mm256_srli_epi32(bytes, 4)); }
  static Int MaddPairs(Int total, Int a, Int b) { return _mm256_add_epi32(total, _mm256_madd_epi16(a, b)); }

  static void Transpose16(const uint8_t* base, size_t stride, Int out[4]) {
    Int rows[4];
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) {
      rows[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(LoadQuarter(base + i * stride)),
                                        LoadQuarter(base + (i + 4) * stride), 1);
    }
    const Int a = _mm256_unpacklo_epi32(rows[0], rows[1]);
    const Int b = _mm256_unpacklo_epi32(rows[2], rows[3]);
    const Int c = _mm256_unpackhi_epi32(rows[0], rows[1]);
    const Int d = _mm256_unpackhi_epi32(rows[2], rows[3]);
    out[0] = _mm256_unpacklo_epi64(a, b);
    out[1] = _mm256_unpackhi_epi64(a, b);
    out[2] = _mm256_unpacklo_epi64(c, d);
    out[3] = _mm256_unpackhi_epi64(c, d);
  }
  static void Transpose32(const uint8_t* base, size_t stride, Int out[8]) {
    Transpose16(base, stride, out);
    Transpose16(base + 16, stride, out + 4);
  }
  static Int GatherDwords(const uint8_t* base, size_t stride) {
    int32_t lanes[8];
    SLUICE_UNROLL
    for (int i = 0; i < 8; ++i) lanes[i] = LoadDword(base + i * stride);
    return _mm256_setr_epi32(lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5], lanes[6], lanes[7]);
  }

  // Eight times each byte.
  static Int EightOfEach(uint32_t bytes) {
    const Int byte_of_group =
        _mm256_setr_epi32(0, 0, 0x01010101, 0x01010101, 0x02020202, 0x02020202, 0x03030303, 0x03030303);
    return _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int32_t>(bytes)), byte_of_group);
  }
  // Of such: byte i is all ones where bit i mod 8 of it is set.
  static Int BytesOfBits(Int bits) {
    const Int bit_of_byte = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    return _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit_of_byte), bit_of_byte);
  }

  template <int kAdded>
  static void StoreSigned(const uint64_t groups[4], uint32_t signs, uint8_t* to) {
    const Int negative = BytesOfBits(EightOfEach(signs));
    const Int with_sign = _mm256_sub_epi8(_mm256_xor_si256(Combine(groups), negative), negative);
    StoreBytes(to, _mm256_add_epi8(with_sign, _mm256_set1_epi8(kAdded)));
  }
  static void StoreWithDelta(const uint64_t groups[4], uint32_t negative, uint8_t* to) {
    const Int eightfold = _mm256_and_si256(_mm256_slli_epi16(Combine(groups), 3), _mm256_set1_epi8(-8));
    const Int codes = _mm256_add_epi8(eightfold, _mm256_set1_epi8(10));
    StoreBytes(to, _mm256_sub_epi8(codes, _mm256_and_si256(BytesOfBits(EightOfEach(negative)), _mm256_set1_epi8(2))));
  }

  static Float HalfToFloat(Int a) {
    const Int words = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
    const Int packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
  }
  static Float BitsToFloat(Int a) { return _mm256_castsi256_ps(a); }
  static Float ToFloat(Int a) { return _mm256_cvtepi32_ps(a); }
  static Float BroadcastFloat(const float* value) { return _mm256_broadcast_ss(value); }
  static Float SetFloat(float value) { return _mm256_set1_ps(value); }
  static Float ZeroFloat() { return _mm256_setzero_ps(); }
  static Float MulFloat(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float AddFloat(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float Fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static void StoreFloat(float* out, Float a) { _mm256_storeu_ps(out, a); }

  // Has the value computed where it stands. Left alone, GCC delays and reassociates sums of products, whose terms then
  // do not fit the registers.
  static Int Here(Int a) {
    __asm__("" : "+x"(a));
    return a;
  }

 private:
  static Int Combine(const uint64_t groups[4]) {
    return _mm256_set_epi64x(static_cast<int64_t>(groups[3]), static_cast<int64_t>(groups[2]),
                             static_cast<int64_t>(groups[1]), static_cast<int64_t>(groups[0]));
  }
  static void StoreBytes(uint8_t* to, Int bytes) { _mm256_storeu_si256(reinterpret_cast<Int*>(to), bytes); }
  static __m128i LoadQuarter(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
};

// Pairs of products are summed in int16. A step is as long as that stays exact:
// vpmaddubsw saturates, so no pair of products, and no sum of pairs, may leave
// int16 whatever the codes.
template <int kMaxCode, bool kWide>
struct Avx2Products {
  using Int = __m256i;
  static constexpr int kExactDwords = 32767 / (2 * 127 * kMaxCode);
  static_assert(kExactDwords >= 1);
  static constexpr int StepDwords(int group_dwords) {
    return kExactDwords >= 8 && group_dwords >= 8 ? 8 : kExactDwords >= 4 ? 4 : kExactDwords >= 2 ? 2 : 1;
  }

  static Int Dot(Int sum, Int codes, Int values) {
    return Avx2::Here(_mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, values)));
  }
  static Int AddPlain(Int total, Int sum) {
    return _mm256_add_epi32(total, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
  }
  static Int AddScaled(Int total, Int sum, Int scale) { return _mm256_add_epi32(total, _mm256_madd_epi16(sum, scale)); }
  // A sub-scale times a factor of activations.
  static Int Times(Int scale, int16_t factor) { return _mm256_mullo_epi16(scale, _mm256_set1_epi16(factor)); }
  // In both words of a lane.
  template <int kByte>
  static Int UnsignedScale(Int bytes) {
    return Avx2::ShuffleBytes<kByte, -1, kByte, -1>(bytes);
  }
  template <int kByte>
  static Int SignedScale(Int bytes) {
    const Int in_word = Avx2::ShuffleBytes<-1, kByte, -1, kByte>(bytes);
    return _mm256_srai_epi16(in_word, 8);
  }
};

// Signed codes of eight bits: the sign moves to the activation. A magnitude of
// up to 128 times 127, twice, still fits int16.
template <int kMaxCode>
struct Avx2Products<kMaxCode, true> {
  using Int = __m256i;
  static constexpr int StepDwords(int group_dwords) { return group_dwords; }

  static Int Dot(Int sum, Int codes, Int values) {
    const Int pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(values, codes));
    return Avx2::Here(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
  }
  static Int AddPlain(Int total, Int sum) { return _mm256_add_epi32(total, sum); }
  static Int AddScaled(Int total, Int sum, Int scale) {
    return _mm256_add_epi32(total, _mm256_mullo_epi32(sum, scale));
  }
  template <int kByte>
  static Int SignedScale(Int bytes) {
    const Int in_dword = Avx2::ShuffleBytes<-1, -1, -1, kByte>(bytes);
    return _mm256_srai_epi32(in_dword, 24);
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_AVX2_H_
