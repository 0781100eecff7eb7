// Code-book types as panels with AVX-512 VBMI: tables of bytes instead of gathers.
//
// Entries are kept packed, the levels of their elements in two or three bits: a
// plane has a byte of every entry, which is looked up for the four indices of a
// lane at once, and a byte permutation takes the level from the lowest bits of
// each. So a dword of codes has one element of four neighbouring entries, and
// Arrange() brings activations into the same order: 0, 8, 16, 24, 1, 9 ... of 32
// for entries of eight elements, 0, 4, 8, 12, 1, 5 ... of 16 for entries of four.
// iq1 has too many entries; they are gathered packed, in the plain order. iq2_xs
// and iq2_s gain nothing and stay with gathers.
#ifndef SLUICE_COMPUTE_SIMD_CODEBOOKS_VBMI_H_
#define SLUICE_COMPUTE_SIMD_CODEBOOKS_VBMI_H_

#include <cstddef>
#include <cstdint>

#include "compute/codebooks.h"
#include "compute/simd_codebooks_avx512.h"

namespace sluice {
namespace {

// table[i] is kAdded + kFactor times the level in the kBits bits of i from kShift on.
template <int kBits, int kShift, int kFactor, int kAdded>
struct LevelTable {
  alignas(64) uint8_t bytes[64];
  template <size_t kLevels>
  constexpr explicit LevelTable(const int8_t (&levels)[kLevels]) : bytes{} {
    for (unsigned i = 0; i < 64; ++i) {
      const unsigned level = (i >> kShift) & ((1u << kBits) - 1);
      if (level < kLevels) bytes[i] = static_cast<uint8_t>(kFactor * levels[level] + kAdded);
    }
  }
};
template <class Table>
SLUICE_INLINE Lanes LevelsOf(const Table& table, Lanes packed) {
  return _mm512_permutexvar_epi8(packed, _mm512_load_si512(table.bytes));
}

// Bit kBit of four indices, whose lower seven bits are in the bytes of a lane, and so on.
template <int kMasks>
struct HighBits {
  __mmask64 masks[kMasks];
};

// The bytes of a plane of 128 << kMasks entries that four indices per lane choose.
template <int kMasks>
SLUICE_INLINE Lanes LookupPlane(const uint8_t* plane, Lanes indices, const HighBits<kMasks>& high) {
  Lanes found[1 << kMasks];
  SLUICE_UNROLL
  for (int i = 0; i < 1 << kMasks; ++i) {
    found[i] =
        _mm512_permutex2var_epi8(_mm512_load_si512(plane + 128 * i), indices, _mm512_load_si512(plane + 128 * i + 64));
  }
  SLUICE_UNROLL
  for (int level = 0; level < kMasks; ++level) {
    SLUICE_UNROLL
    for (int i = 0; i < (1 << kMasks) >> (level + 1); ++i) {
      found[i] = _mm512_mask_blend_epi8(high.masks[level], found[2 * i], found[2 * i + 1]);
    }
  }
  return found[0];
}

// `codes` are magnitudes plus kOffset; where a bit of `select` is in its byte of `signs`, minus.
template <int kOffset>
SLUICE_INLINE Lanes Signed(Lanes codes, Lanes signs, int32_t select) {
  const __mmask64 negative = _mm512_test_epi8_mask(signs, _mm512_set1_epi32(select));
  return _mm512_mask_sub_epi8(codes, negative, _mm512_set1_epi8(2 * kOffset), codes);
}
// Rearranges 256 activations within each 64.
SLUICE_INLINE void ArrangeValues(const int8_t* from, const uint8_t (&order)[64], int8_t* to) {
  SLUICE_UNROLL
  for (int i = 0; i < 256; i += 64) {
    const __m512i values = _mm512_load_si512(from + i);
    _mm512_store_si512(to + i, _mm512_permutexvar_epi8(_mm512_load_si512(order), values));
  }
  // Or the compiler takes them apart in registers, which costs more than loads.
  asm volatile("" : : "r"(to) : "memory");
}

// Entries of eight elements of two bits.
struct BytesIq2Xxs : GridIq2Xxs {
  static constexpr bool kArranged = true;
  static SLUICE_INLINE void Arrange(const int8_t* from, int8_t* to) {
    alignas(64) static constexpr uint8_t kOrder[64] = {0,  8,  16, 24, 1,  9,  17, 25, 2,  10, 18, 26, 3,  11, 19, 27,
                                                       4,  12, 20, 28, 5,  13, 21, 29, 6,  14, 22, 30, 7,  15, 23, 31,
                                                       32, 40, 48, 56, 33, 41, 49, 57, 34, 42, 50, 58, 35, 43, 51, 59,
                                                       36, 44, 52, 60, 37, 45, 53, 61, 38, 46, 54, 62, 39, 47, 55, 63};
    ArrangeValues(from, kOrder, to);
  }
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    const Lanes indices = common[2 * kPart];
    const Lanes signs = SignsOfSevens(common[2 * kPart + 1]);
    const HighBits<1> high = {{_mm512_movepi8_mask(indices)}};
    Half<0>(LookupPlane(reinterpret_cast<const uint8_t*>(&kIq2XxsPlanes), indices, high), signs, codes);
    Half<4>(LookupPlane(reinterpret_cast<const uint8_t*>(&kIq2XxsPlanes) + 256, indices, high), signs, codes + 4);
  }

 private:
  template <int kFirst>
  static SLUICE_INLINE void Half(Lanes packed, Lanes signs, Lanes* codes) {
    static constexpr LevelTable<2, 0, 1, kOffset> kEven(kIq2Levels);
    static constexpr LevelTable<2, 2, 1, kOffset> kOdd(kIq2Levels);
    const Lanes upper = _mm512_srli_epi16(packed, 4);
    codes[0] = Signed<kOffset>(LevelsOf(kEven, packed), signs, 0x01010101 << kFirst);
    codes[1] = Signed<kOffset>(LevelsOf(kOdd, packed), signs, 0x02020202 << kFirst);
    codes[2] = Signed<kOffset>(LevelsOf(kEven, upper), signs, 0x04040404 << kFirst);
    codes[3] = Signed<kOffset>(LevelsOf(kOdd, upper), signs, static_cast<int32_t>(0x08080808u << kFirst));
  }
};

// Entries of four elements of three bits.
struct FoursArranged {
  static constexpr bool kArranged = true;
  static SLUICE_INLINE void Arrange(const int8_t* from, int8_t* to) {
    alignas(64) static constexpr uint8_t kOrder[64] = {0,  4,  8,  12, 1,  5,  9,  13, 2,  6,  10, 14, 3,  7,  11, 15,
                                                       16, 20, 24, 28, 17, 21, 25, 29, 18, 22, 26, 30, 19, 23, 27, 31,
                                                       32, 36, 40, 44, 33, 37, 41, 45, 34, 38, 42, 46, 35, 39, 43, 47,
                                                       48, 52, 56, 60, 49, 53, 57, 61, 50, 54, 58, 62, 51, 55, 59, 63};
    ArrangeValues(from, kOrder, to);
  }

 protected:
  // Four entries; their signs are the nibbles of bytes 2 * kHalf and 2 * kHalf + 1.
  template <int kHalf, int kOffset, int kMasks, class Even, class Odd>
  static SLUICE_INLINE void DecodeFours(const uint8_t* planes, Lanes indices, const HighBits<kMasks>& high, Lanes signs,
                                        const Even& even, const Odd& odd, Lanes* codes) {
    constexpr int kFirst = 2 * kHalf;
    const Lanes spread = Avx512::ShuffleBytes<kFirst, kFirst, kFirst + 1, kFirst + 1>(signs);
    SLUICE_UNROLL
    for (int t = 0; t < 2; ++t) {
      const Lanes packed = LookupPlane(planes + t * (128 << kMasks), indices, high);
      const Lanes a = LevelsOf(even, packed);
      const Lanes b = LevelsOf(odd, packed);
      codes[2 * t] = Signed<kOffset>(a, spread, 0x10011001 << (2 * t));
      codes[2 * t + 1] = Signed<kOffset>(b, spread, 0x10011001 << (2 * t + 1));
    }
  }
};

struct BytesIq3Xxs : GridIq3Xxs, FoursArranged {
  using FoursArranged::kArranged;
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    const Lanes signs = SignsOfSevens(common[16 + kPart]);
    Half<0>(common[2 * kPart], signs, codes);
    Half<1>(common[2 * kPart + 1], signs, codes + 4);
  }

 private:
  template <int kHalf>
  static SLUICE_INLINE void Half(Lanes indices, Lanes signs, Lanes* codes) {
    static constexpr LevelTable<3, 0, 1, kOffset> kEven(kIq3XxsLevels);
    static constexpr LevelTable<3, 3, 1, kOffset> kOdd(kIq3XxsLevels);
    const HighBits<1> high = {{_mm512_movepi8_mask(indices)}};
    DecodeFours<kHalf, kOffset>(reinterpret_cast<const uint8_t*>(&kIq3XxsPlanes), indices, high, signs, kEven, kOdd,
                                codes);
  }
};

struct BytesIq3S : GridIq3S, FoursArranged {
  using FoursArranged::kArranged;
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    constexpr int kByte = kPart % 4;
    const Lanes rest = Avx512::ShuffleBytes<kByte, kByte, kByte, kByte>(common[24 + kPart / 4]);
    Half<0>(common[2 * kPart], _mm512_test_epi8_mask(rest, _mm512_set1_epi32(0x08040201)), common[16 + kPart], codes);
    Half<1>(common[2 * kPart + 1], _mm512_test_epi8_mask(rest, _mm512_set1_epi32(static_cast<int32_t>(0x80402010u))),
            common[16 + kPart], codes + 4);
  }

 private:
  template <int kHalf>
  static SLUICE_INLINE void Half(Lanes indices, __mmask64 ninth, Lanes signs, Lanes* codes) {
    static constexpr LevelTable<3, 0, 1, kOffset> kEven(kIq3SLevels);
    static constexpr LevelTable<3, 3, 1, kOffset> kOdd(kIq3SLevels);
    const HighBits<2> high = {{_mm512_movepi8_mask(indices), ninth}};
    DecodeFours<kHalf, kOffset>(reinterpret_cast<const uint8_t*>(&kIq3SPlanes), indices, high, signs, kEven, kOdd,
                                codes);
  }
};

// The packed entries of a lane as two dwords of codes, without their deltas: 8, 16 or 0.
SLUICE_INLINE void LookupPackedIq1(Lanes indices, Lanes delta, Lanes* codes) {
  static constexpr LevelTable<2, 0, 8, 8> kLevels(kIq1Levels);
  const Lanes packed = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), 0xffff, indices, &kIq1PackedGrid, 2);
  const Lanes low = _mm512_set1_epi64(0x2624222006040200), high = _mm512_set1_epi64(0x2e2c2a280e0c0a08);
  codes[0] = _mm512_add_epi8(LevelsOf(kLevels, _mm512_multishift_epi64_epi8(low, packed)), delta);
  codes[1] = _mm512_add_epi8(LevelsOf(kLevels, _mm512_multishift_epi64_epi8(high, packed)), delta);
}

struct BytesIq1S : GridIq1S {
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    const Lanes words = _mm512_srli_epi32(common[8 + kPart / 2], kPart % 2 * 16);
    const Lanes delta = DeltaOf<0x8000>(words);
    Lanes indices[4];
    Indices<kPart>(common, words, indices);
    SLUICE_UNROLL
    for (int l = 0; l < 4; ++l) LookupPackedIq1(indices[l], delta, codes + 2 * l);
  }
};

struct BytesIq1M : GridIq1M {
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    const Lanes nibbles = _mm512_srli_epi32(common[8 + kPart / 2], kPart % 2 * 16);
    Lanes indices[4];
    Indices<kPart>(common, nibbles, indices);
    LookupPackedIq1(indices[0], DeltaOf<0x8>(nibbles), codes);
    LookupPackedIq1(indices[1], DeltaOf<0x80>(nibbles), codes + 2);
    LookupPackedIq1(indices[2], DeltaOf<0x800>(nibbles), codes + 4);
    LookupPackedIq1(indices[3], DeltaOf<0x8000>(nibbles), codes + 6);
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CODEBOOKS_VBMI_H_
