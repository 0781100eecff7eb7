// Code-book types as panels with AVX-512 VBMI: tables of bytes instead of gathers.
//
// Entries are kept packed, the levels of their elements in two or three bits: a
// plane has a byte of every entry, which is looked up for the four indices of a
// lane at once. Sign bits are put beside the levels, and one more byte permutation
// makes codes of both. So a dword of codes has one element of four neighbouring
// entries, and Arrange() brings activations into the same order: 0, 8, 16, 24, 1, 9
// ... of 32 for entries of eight elements, 0, 4, 8, 12, 1, 5 ... of 16 for entries of
// four. Where entries are many, they are gathered packed, which keeps the load ports
// busy and not those of the permutations; a dword then has elements t and 4 + t of two.
#ifndef SLUICE_COMPUTE_SIMD_CODEBOOKS_VBMI_H_
#define SLUICE_COMPUTE_SIMD_CODEBOOKS_VBMI_H_

#include <cstddef>
#include <cstdint>

#include "compute/codebooks.h"
#include "compute/simd_codebooks_avx512.h"

namespace sluice {
namespace {

// table[i] is kOffset plus the level in the kBits bits of i from kShift on, minus it where
// bit kSignBit is set.
template <int kBits, int kShift, int kSignBit, int kOffset>
struct LevelTable {
  alignas(64) uint8_t bytes[64];
  template <size_t kLevels>
  constexpr explicit LevelTable(const int8_t (&levels)[kLevels]) : bytes{} {
    for (unsigned i = 0; i < 64; ++i) {
      const unsigned level = (i >> kShift) & ((1u << kBits) - 1);
      const bool minus = (i >> kSignBit & 1) != 0;
      if (level < kLevels) bytes[i] = static_cast<uint8_t>((minus ? -levels[level] : levels[level]) + kOffset);
    }
  }
};
template <class Table>
SLUICE_INLINE Lanes LevelsOf(const Table& table, Lanes packed) {
  return _mm512_permutexvar_epi8(packed, _mm512_load_si512(table.bytes));
}

// masks[i] is bit 7 + i of all indices, four of which have their lower seven bits in the bytes of a lane.
template <int kMasks>
struct HighBits {
  __mmask64 masks[kMasks];
};

// Which indices have `number` in their high bits.
template <int kMasks>
SLUICE_INLINE __mmask64 WhereHighBitsAre(int number, const HighBits<kMasks>& high) {
  __mmask64 where = ~__mmask64{0};
  SLUICE_UNROLL
  for (int bit = 0; bit < kMasks; ++bit) where &= (number >> bit & 1) != 0 ? high.masks[bit] : ~high.masks[bit];
  return where;
}

// The bytes of a plane of 128 << kMasks entries that four indices per lane choose. Each look-up replaces the indices
// that are for its part of the plane; blending what all of them found took one row from memory 5 to 9 % longer (one
// thread).
template <int kMasks>
SLUICE_INLINE Lanes LookupPlane(const uint8_t* plane, Lanes indices, const HighBits<kMasks>& high) {
  SLUICE_UNROLL
  for (int i = 0; i < 1 << kMasks; ++i) {
    const Lanes first = _mm512_load_si512(plane + 128 * i), second = _mm512_load_si512(plane + 128 * i + 64);
    indices = _mm512_mask2_permutex2var_epi8(first, indices, WhereHighBitsAre(i, high), second);
  }
  return indices;
}

// The sign bytes of 7-bit numbers; what stands above them in a byte does not matter.
SLUICE_INLINE Lanes SignsOfNumbers(Lanes numbers) {
  const uint8_t* table = reinterpret_cast<const uint8_t*>(&kSigns7Bit);
  return _mm512_permutex2var_epi8(_mm512_loadu_si512(table), numbers, _mm512_loadu_si512(table + 64));
}
// Of four such numbers side by side in each lane.
SLUICE_INLINE Lanes SignsOfSides(Lanes words) {
  return SignsOfNumbers(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700), words));
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

// Two levels of iq2 in the lowest bits of each byte of `packed`, their signs in bits 4
// and 5 of `signs`.
template <int kOffset>
SLUICE_INLINE void DecodeIq2(Lanes packed, Lanes signs, Lanes* codes) {
  static constexpr LevelTable<2, 0, 4, kOffset> kEven(kIq2Levels);
  static constexpr LevelTable<2, 2, 5, kOffset> kOdd(kIq2Levels);
  const Lanes both = Avx512::Merge(_mm512_set1_epi8(0x0f), packed, signs);
  codes[0] = LevelsOf(kEven, both);
  codes[1] = LevelsOf(kOdd, both);
}

// Entries of eight elements of two bits, from planes.
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
    const Lanes signs = SignsOfSides(common[2 * kPart + 1]);
    const HighBits<1> high = {{_mm512_movepi8_mask(indices)}};
    const uint8_t* planes = reinterpret_cast<const uint8_t*>(&kIq2XxsPlanes);
    const Lanes first = LookupPlane(planes, indices, high), second = LookupPlane(planes + 256, indices, high);
    DecodeIq2<kOffset>(first, _mm512_slli_epi16(signs, 4), codes);
    DecodeIq2<kOffset>(_mm512_srli_epi16(first, 4), _mm512_slli_epi16(signs, 2), codes + 2);
    DecodeIq2<kOffset>(second, signs, codes + 4);
    DecodeIq2<kOffset>(_mm512_srli_epi16(second, 4), _mm512_srli_epi16(signs, 2), codes + 6);
  }
};

// Entries of eight elements, two of them for sixteen codes.
struct PairsArranged {
  static constexpr bool kArranged = true;
  static SLUICE_INLINE void Arrange(const int8_t* from, int8_t* to) {
    alignas(64) static constexpr uint8_t kOrder[64] = {0,  8,  4,  12, 1,  9,  5,  13, 2,  10, 6,  14, 3,  11, 7,  15,
                                                       16, 24, 20, 28, 17, 25, 21, 29, 18, 26, 22, 30, 19, 27, 23, 31,
                                                       32, 40, 36, 44, 33, 41, 37, 45, 34, 42, 38, 46, 35, 43, 39, 47,
                                                       48, 56, 52, 60, 49, 57, 53, 61, 50, 58, 54, 62, 51, 59, 55, 63};
    ArrangeValues(from, kOrder, to);
  }

 protected:
  // The first halves of two entries and their second halves, from a table of such.
  template <class Table>
  static SLUICE_INLINE Lanes GatherPair(const Table& table, Lanes first, Lanes second) {
    return Avx512::Merge(_mm512_set1_epi32(0x00ff00ff), LookupFour(table, first), LookupFour(table, second));
  }
};

// 32 codes; `signs` has a byte for each entry.
template <int kOffset>
struct PairsIq2 : PairsArranged {
 protected:
  template <class Table>
  static SLUICE_INLINE void DecodeFour(const Table& table, const Lanes (&indices)[4], Lanes signs, Lanes* codes) {
    // The signs of elements 0 and 1, or 4 and 5, come to bits 4 and 5.
    const __m512i first = _mm512_set1_epi64(0x2820241c0800043c), second = _mm512_set1_epi64(0x3830342c1810140c);
    DecodeTwo(GatherPair(table, indices[0], indices[1]), _mm512_multishift_epi64_epi8(first, signs), codes);
    DecodeTwo(GatherPair(table, indices[2], indices[3]), _mm512_multishift_epi64_epi8(second, signs), codes + 4);
  }

 private:
  static SLUICE_INLINE void DecodeTwo(Lanes packed, Lanes signs, Lanes* codes) {
    DecodeIq2<kOffset>(packed, signs, codes);
    DecodeIq2<kOffset>(_mm512_srli_epi16(packed, 4), _mm512_srli_epi16(signs, 2), codes + 2);
  }
};

struct BytesIq2Xs : GridIq2Xs, PairsIq2<RowIq2Xs::kMagnitude> {
  using PairsArranged::kArranged;
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    // Words of nine bits of index and seven of signs.
    const Lanes low = common[2 * kPart], high = common[2 * kPart + 1];
    const Lanes indices[4] = {Bits(low, 511), Bits(_mm512_srli_epi32(low, 16), 511), Bits(high, 511),
                              Bits(_mm512_srli_epi32(high, 16), 511)};
    const Lanes sevens =
        _mm512_or_si512(Avx512::ShuffleBytes<1, 3, -1, -1>(low), Avx512::ShuffleBytes<-1, -1, 1, 3>(high));
    DecodeFour(kIq2XsHalves, indices, SignsOfNumbers(_mm512_srli_epi16(sevens, 1)), codes);
  }
};

struct BytesIq2S : GridIq2S, PairsIq2<RowIq2S::kMagnitude> {
  using PairsArranged::kArranged;
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    Lanes indices[4];
    Indices<kPart>(common, indices);
    DecodeFour(kIq2SHalves, indices, common[8 + kPart], codes);
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
  // Four entries of every lane; their signs are the nibbles of half kHalf of `signs`.
  template <int kHalf, int kOffset, const auto& kLevels, int kMasks>
  static SLUICE_INLINE void DecodeFours(const void* planes, Lanes indices, const HighBits<kMasks>& high, Lanes signs,
                                        Lanes* codes) {
    static constexpr LevelTable<3, 3, 0, kOffset> kFirst(kLevels);
    static constexpr LevelTable<3, 0, 5, kOffset> kSecond(kLevels);
    static constexpr LevelTable<3, 3, 2, kOffset> kThird(kLevels);
    static constexpr LevelTable<3, 0, 3, kOffset> kFourth(kLevels);
    // Each nibble in the lower half of a byte, and in the upper half.
    const Lanes lower = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2c2824200c080400 + kHalfFrom<kHalf>), signs);
    const Lanes upper = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2824201c0804003c + kHalfFrom<kHalf>), signs);
    const Lanes low_level = _mm512_set1_epi8(0x07), high_level = _mm512_set1_epi8(0x38);
    const uint8_t* bytes = static_cast<const uint8_t*>(planes);
    const Lanes first = LookupPlane(bytes, indices, high);
    const Lanes second = LookupPlane(bytes + (128 << kMasks), indices, high);
    codes[0] = LevelsOf(kFirst, Avx512::Merge(high_level, first, lower));
    codes[1] = LevelsOf(kSecond, Avx512::Merge(low_level, first, upper));
    codes[2] = LevelsOf(kThird, Avx512::Merge(high_level, second, lower));
    codes[3] = LevelsOf(kFourth, Avx512::Merge(low_level, second, lower));
  }

 private:
  template <int kHalf>
  static constexpr int64_t kHalfFrom = kHalf * 0x1010101010101010;
};

struct BytesIq3Xxs : GridIq3Xxs, FoursArranged {
  using FoursArranged::kArranged;
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    const Lanes signs = SignsOfSides(common[16 + kPart]);
    Half<0>(common[2 * kPart], signs, codes);
    Half<1>(common[2 * kPart + 1], signs, codes + 4);
  }

 private:
  template <int kHalf>
  static SLUICE_INLINE void Half(Lanes indices, Lanes signs, Lanes* codes) {
    const HighBits<1> high = {{_mm512_movepi8_mask(indices)}};
    DecodeFours<kHalf, kOffset, kIq3XxsLevels>(&kIq3XxsPlanes, indices, high, signs, codes);
  }
};

struct BytesIq3S : GridIq3S, FoursArranged {
  using FoursArranged::kArranged;
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    constexpr int kByte = kPart % 4;
    const Lanes rest = Avx512::ShuffleBytes<kByte, kByte, kByte, kByte>(common[24 + kPart / 4]);
    const Lanes signs = common[16 + kPart];
    Half<0>(common[2 * kPart], _mm512_test_epi8_mask(rest, _mm512_set1_epi32(0x08040201)), signs, codes);
    Half<1>(common[2 * kPart + 1], _mm512_test_epi8_mask(rest, _mm512_set1_epi32(static_cast<int32_t>(0x80402010u))),
            signs, codes + 4);
  }

 private:
  template <int kHalf>
  static SLUICE_INLINE void Half(Lanes indices, __mmask64 ninth, Lanes signs, Lanes* codes) {
    const HighBits<2> high = {{_mm512_movepi8_mask(indices), ninth}};
    DecodeFours<kHalf, kOffset, kIq3SLevels>(&kIq3SPlanes, indices, high, signs, codes);
  }
};

// Entries of elements -1, 0 and 1, and deltas.
struct PairsIq1 : PairsArranged {
 protected:
  // Eight times an element plus 9, plus or minus one; minus where bit 4 of its byte of
  // `first` (of two entries) or `second` is set.
  static SLUICE_INLINE void DecodeFour(const Lanes (&indices)[4], Lanes first, Lanes second, Lanes* codes) {
    DecodeTwo(GatherPair(kIq1Halves, indices[0], indices[1]), first, codes);
    DecodeTwo(GatherPair(kIq1Halves, indices[2], indices[3]), second, codes + 4);
  }

 private:
  template <int kShift>
  struct Table {
    alignas(64) uint8_t bytes[64];
    constexpr Table() : bytes{} {
      for (unsigned i = 0; i < 64; ++i) {
        const unsigned level = i >> kShift & 3;
        if (level < 3) bytes[i] = static_cast<uint8_t>(8 * kIq1Levels[level] + ((i & 16) != 0 ? 8 : 10));
      }
    }
  };
  static SLUICE_INLINE void DecodeTwo(Lanes packed, Lanes deltas, Lanes* codes) {
    static constexpr Table<0> kEven;
    static constexpr Table<2> kOdd;
    const Lanes mask = _mm512_set1_epi8(0x0f);
    const Lanes low = Avx512::Merge(mask, packed, deltas);
    const Lanes high = Avx512::Merge(mask, _mm512_srli_epi16(packed, 4), deltas);
    codes[0] = LevelsOf(kEven, low);
    codes[1] = LevelsOf(kOdd, low);
    codes[2] = LevelsOf(kEven, high);
    codes[3] = LevelsOf(kOdd, high);
  }
};

struct BytesIq1S : GridIq1S, PairsIq1 {
  using PairsIq1::kArranged;
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    const Lanes words = _mm512_srli_epi32(common[8 + kPart / 2], kPart % 2 * 16);
    Lanes indices[4];
    Indices<kPart>(common, words, indices);
    // Bit 15 becomes bit 4 of every byte.
    const Lanes deltas = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2b2b2b2b0b0b0b0b), words);
    DecodeFour(indices, deltas, deltas, codes);
  }
};

struct BytesIq1M : GridIq1M, PairsIq1 {
  using PairsIq1::kArranged;
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Lanes* common, Lanes* codes) {
    const Lanes nibbles = _mm512_srli_epi32(common[8 + kPart / 2], kPart % 2 * 16);
    Lanes indices[4];
    Indices<kPart>(common, nibbles, indices);
    // Bits 3 and 7, or 11 and 15, become bit 4 of alternate bytes.
    const Lanes first = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x231f231f033f033f), nibbles);
    const Lanes second = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2b272b270b070b07), nibbles);
    DecodeFour(indices, first, second, codes);
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CODEBOOKS_VBMI_H_
