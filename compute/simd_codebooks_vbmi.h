// Code-book types as panels with AVX-512 VBMI and GFNI: tables of bytes instead of gathers.
//
// Entries are kept packed, the levels of their elements in two or three bits: a plane has a byte of every entry, which
// is looked up for the four indices of a lane at once. Sign bits are put beside the levels, and one more byte
// permutation makes codes of both. So a dword of codes has one element of four neighbouring entries, and Arrange()
// brings activations into the same order: 0, 8, 16, 24, 1, 9 ... of 32 for entries of eight elements, 0, 4, 8, 12, 1, 5
// ... of 16 for entries of four. Where entries are many, they are gathered packed, which keeps the load ports busy and
// not those of the permutations; a dword then has elements t and 4 + t of two. What one row takes in another way is in
// compute/simd_codebook_rows_vbmi.h.
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

// masks[i] is bit 6 + i of all indices, four of which have their lower eight bits in the bytes of a lane.
template <int kMasks>
struct HighBits {
  __mmask64 masks[kMasks];
};

SLUICE_INLINE HighBits<2> HighBitsOf(Lanes indices) {
  return {{_mm512_test_epi8_mask(indices, _mm512_set1_epi8(0x40)), _mm512_movepi8_mask(indices)}};
}
SLUICE_INLINE HighBits<3> HighBitsOf(Lanes indices, __mmask64 ninth) {
  const HighBits<2> low = HighBitsOf(indices);
  return {{low.masks[0], low.masks[1], ninth}};
}

// The bytes of a plane of 64 << kMasks entries that four indices per lane choose. Part i of the plane replaces what
// indices with all the high bits of i found before, so the last one that does is the right one. Parts of 128
// entries would take one operation more each (vpermi2b is three).
template <int kMasks>
SLUICE_INLINE Lanes LookupPlane(const uint8_t* plane, Lanes indices, const HighBits<kMasks>& high) {
  if constexpr (kMasks > 2) {
    HighBits<kMasks - 1> rest;
    SLUICE_UNROLL
    for (int i = 0; i < kMasks - 1; ++i) rest.masks[i] = high.masks[i];
    const Lanes low = LookupPlane(plane, indices, rest);
    return _mm512_mask_blend_epi8(high.masks[kMasks - 1], low, LookupPlane(plane + (32 << kMasks), indices, rest));
  } else {
    const auto part = [plane](int i) { return _mm512_load_si512(plane + 64 * i); };
    const Lanes found = _mm512_permutexvar_epi8(indices, part(0));
    const Lanes sixth = _mm512_mask_permutexvar_epi8(found, high.masks[0], indices, part(1));
    const Lanes seventh = _mm512_mask_permutexvar_epi8(sixth, high.masks[1], indices, part(2));
    return _mm512_mask_permutexvar_epi8(seventh, high.masks[0] & high.masks[1], indices, part(3));
  }
}

// A matrix over bits for vgf2p8affineqb: bit i of each byte becomes the parity of its bits in masks[i],
// inverted where kFlips has it.
constexpr int64_t BitMatrix(const uint8_t (&masks)[8]) {
  uint64_t matrix = 0;
  for (int i = 0; i < 8; ++i) matrix |= static_cast<uint64_t>(masks[i]) << (8 * (7 - i));
  return static_cast<int64_t>(matrix);
}
template <int kFlips = 0>
SLUICE_INLINE Lanes MapBits(Lanes bytes, int64_t matrix) {
  return _mm512_gf2p8affine_epi64_epi8(bytes, _mm512_set1_epi64(matrix), kFlips);
}

// Eight sign bits in each byte, or seven from bit kFirst on, where the eighth makes the number of negative elements
// even: those of elements 0 and 1 come to bits 4 and 5, of 2 and 3 to bits 0 and 1, of 4 and 5 to bits 6 and 7, of 6
// and 7 to bits 2 and 3.
template <int kSigns, int kFirst>
SLUICE_INLINE Lanes PlaceSigns(Lanes signs) {
  constexpr uint8_t kLast = kSigns == 7 ? 0x7f << kFirst : 0x80;
  constexpr uint8_t kBit = 1 << kFirst;
  return MapBits(signs, BitMatrix({4 * kBit, 8 * kBit, 64 * kBit, kLast, kBit, 2 * kBit, 16 * kBit, 32 * kBit}));
}
// Four 7-bit numbers side by side in each lane, into its bytes; what stands above them there is undefined.
SLUICE_INLINE Lanes SidesToBytes(Lanes words) {
  return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700), words);
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

// Two levels in the highest bits of each byte, their signs in bits 0 and 1.
template <int kOffset>
SLUICE_INLINE void DecodeHighIq2(Lanes packed, Lanes signs, Lanes* codes) {
  static constexpr LevelTable<2, 2, 0, kOffset> kEven(kIq2Levels);
  static constexpr LevelTable<2, 4, 1, kOffset> kOdd(kIq2Levels);
  const Lanes both = Avx512::Merge(_mm512_set1_epi8(0x3c), _mm512_srli_epi16(packed, 2), signs);
  codes[0] = LevelsOf(kEven, both);
  codes[1] = LevelsOf(kOdd, both);
}

// Halves of four entries of eight elements and their signs: bytes of eight, or of seven from bit kFirst on.
template <int kOffset, int kSigns = 8, int kFirst = 0>
SLUICE_INLINE void DecodeHalves(Lanes first, Lanes second, Lanes signs, Lanes* codes) {
  const Lanes placed = PlaceSigns<kSigns, kFirst>(signs), shifted = _mm512_srli_epi16(placed, 2);
  DecodeIq2<kOffset>(first, placed, codes);
  DecodeHighIq2<kOffset>(first, placed, codes + 2);
  DecodeIq2<kOffset>(second, shifted, codes + 4);
  DecodeHighIq2<kOffset>(second, shifted, codes + 6);
}
// The same of entries in planes; seven signs from bit kFirst on.
template <int kOffset, int kFirst, class Planes, int kMasks>
SLUICE_INLINE void DecodePlanes(const Planes& planes, Lanes indices, const HighBits<kMasks>& high, Lanes sevens,
                                Lanes* codes) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&planes);
  const Lanes first = LookupPlane(bytes, indices, high), second = LookupPlane(bytes + (64 << kMasks), indices, high);
  DecodeHalves<kOffset, 7, kFirst>(first, second, sevens, codes);
}

// A dword of codes has one element of four entries of eight.
struct EightsArranged {
  static constexpr bool kArranged = true;
  static SLUICE_INLINE void Arrange(const int8_t* from, int8_t* to) {
    alignas(64) static constexpr uint8_t kOrder[64] = {0,  8,  16, 24, 1,  9,  17, 25, 2,  10, 18, 26, 3,  11, 19, 27,
                                                       4,  12, 20, 28, 5,  13, 21, 29, 6,  14, 22, 30, 7,  15, 23, 31,
                                                       32, 40, 48, 56, 33, 41, 49, 57, 34, 42, 50, 58, 35, 43, 51, 59,
                                                       36, 44, 52, 60, 37, 45, 53, 61, 38, 46, 54, 62, 39, 47, 55, 63};
    ArrangeValues(from, kOrder, to);
  }
};

struct BytesIq2Xxs : GridIq2Xxs, EightsArranged {
  static constexpr bool kSideBySide = true;
  using EightsArranged::kArranged;
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes indices = fields[2 * kPart], sevens = SidesToBytes(fields[2 * kPart + 1]);
    DecodePlanes<kOffset, 0>(kIq2XxsPlanes, indices, HighBitsOf(indices), sevens, codes);
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
  static constexpr bool kSideBySide = true;
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    // Words of nine bits of index and seven of signs.
    const Lanes low = fields[2 * kPart], high = fields[2 * kPart + 1];
    const Lanes indices[4] = {Bits(low, 511), Bits(_mm512_srli_epi32(low, 16), 511), Bits(high, 511),
                              Bits(_mm512_srli_epi32(high, 16), 511)};
    const Lanes sevens =
        _mm512_or_si512(Avx512::ShuffleBytes<1, 3, -1, -1>(low), Avx512::ShuffleBytes<-1, -1, 1, 3>(high));
    DecodeFour(kIq2XsHalves, indices, SignsOfUpperSevens(sevens), codes);
  }

 protected:
  static SLUICE_INLINE Lanes SignsOfUpperSevens(Lanes sevens) {
    return MapBits(sevens, BitMatrix({0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xfe}));
  }
};

// Several rows of interleaved iq2_xs: labels and, in a field of their own, their ninth bits below seven signs.
struct BytesIq2XsLabels : BytesIq2Xs {
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes low = fields[2 * kPart], high = fields[2 * kPart + 1];
    const auto label = [](Lanes byte, Lanes shifted) { return _mm512_or_si512(byte, Bits(shifted, 0x100)); };
    const Lanes labels[4] = {label(ByteOf<0>(low), _mm512_slli_epi32(high, 8)), label(ByteOf<1>(low), high),
                             label(ByteOf<2>(low), _mm512_srli_epi32(high, 8)),
                             label(ByteOf<3>(low), _mm512_srli_epi32(high, 16))};
    DecodeFour(kIq2XsHalvesByLabel, labels, SignsOfUpperSevens(high), codes);
  }
};

struct BytesIq2S : GridIq2S, PairsIq2<RowIq2S::kMagnitude> {
  using PairsArranged::kArranged;
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    Lanes indices[4];
    Indices<kPart>(fields, indices);
    DecodeFour(kIq2SHalves, indices, fields[8 + kPart], codes);
  }
};

// The labels of a part of interleaved weights, whose lower bytes are those of `low`, the kBits above them in the bytes
// of `high` from bit kEven on, in odd bytes from bit kOdd on.
template <int kBits, int kEven, int kOdd>
SLUICE_INLINE void LabelsOfPart(Lanes low, Lanes high, Lanes* labels) {
  constexpr int kMask = ((1 << kBits) - 1) << 8;
  const auto label = [](Lanes byte, Lanes shifted) { return _mm512_or_si512(byte, Bits(shifted, kMask)); };
  labels[0] = label(ByteOf<0>(low), _mm512_slli_epi32(high, 8 - kEven));
  labels[1] = label(ByteOf<1>(low), _mm512_srli_epi32(high, kOdd));
  labels[2] = label(ByteOf<2>(low), _mm512_srli_epi32(high, 8 + kEven));
  labels[3] = label(ByteOf<3>(low), _mm512_srli_epi32(high, 16 + kOdd));
}

// Several rows of interleaved iq2_s.
struct BytesIq2SLabels : BytesIq2S {
  static constexpr bool kSideBySide = true;
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    constexpr int kBit = 2 * (kPart % 4);
    Lanes labels[4];
    LabelsOfPart<2, kBit, 6 - kBit>(fields[kPart], fields[16 + kPart / 4], labels);
    DecodeFour(kIq2SHalvesByLabel, labels, fields[8 + kPart], codes);
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
  // Of every nibble of sign bits 0 to 3: bits 0, 2, 1, 3. The last one of the byte is the parity of `eighth`.
  static SLUICE_INLINE Lanes MixSigns(Lanes signs, uint8_t eighth) {
    return MapBits(signs, BitMatrix({0x01, 0x04, 0x02, 0x08, 0x10, 0x40, 0x20, eighth}));
  }
  // Four entries of every lane; their signs are the nibbles of half kHalf of `mixed`.
  template <int kHalf, int kOffset, const auto& kLevels, int kMasks>
  static SLUICE_INLINE void DecodeFours(const void* planes, Lanes indices, const HighBits<kMasks>& high, Lanes mixed,
                                        Lanes* codes) {
    // Bits 1 and 2 stand beside levels in bits 3 to 5, bits 3 and 4 beside levels in bits 0 to 2.
    static constexpr LevelTable<3, 3, 1, kOffset> kFirst(kLevels);
    static constexpr LevelTable<3, 0, 3, kOffset> kSecond(kLevels);
    static constexpr LevelTable<3, 3, 2, kOffset> kThird(kLevels);
    static constexpr LevelTable<3, 0, 4, kOffset> kFourth(kLevels);
    const Lanes signs = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(kNibblesFrom<kHalf>), mixed);
    const Lanes low_level = _mm512_set1_epi8(0x07), high_level = _mm512_set1_epi8(0x38);
    const uint8_t* bytes = static_cast<const uint8_t*>(planes);
    const Lanes first = LookupPlane(bytes, indices, high);
    const Lanes second = LookupPlane(bytes + (64 << kMasks), indices, high);
    codes[0] = LevelsOf(kFirst, Avx512::Merge(high_level, first, signs));
    codes[1] = LevelsOf(kSecond, Avx512::Merge(low_level, first, signs));
    codes[2] = LevelsOf(kThird, Avx512::Merge(high_level, second, signs));
    codes[3] = LevelsOf(kFourth, Avx512::Merge(low_level, second, signs));
  }

 private:
  // Where the bytes begin, so that a nibble comes to bits 1 to 4.
  template <int kHalf>
  static constexpr int64_t kNibblesFrom = kHalf == 0 ? 0x2b27231f0b07033f : 0x3b37332f1b17130f;
};

struct BytesIq3Xxs : GridIq3Xxs, FoursArranged {
  static constexpr bool kSideBySide = true;
  using FoursArranged::kArranged;
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes mixed = MixSigns(SidesToBytes(fields[16 + kPart]), 0x7f);
    Half<0>(fields[2 * kPart], mixed, codes);
    Half<1>(fields[2 * kPart + 1], mixed, codes + 4);
  }

 private:
  template <int kHalf>
  static SLUICE_INLINE void Half(Lanes indices, Lanes mixed, Lanes* codes) {
    DecodeFours<kHalf, kOffset, kIq3XxsLevels>(&kIq3XxsPlanes, indices, HighBitsOf(indices), mixed, codes);
  }
};

// The ninth bits of the indices in half kHalf of sub-block kPart.
template <int kPart, int kHalf, class Fields>
SLUICE_INLINE __mmask64 NinthBitsOfIq3S(const Fields& fields) {
  constexpr int kByte = kPart % 4;
  constexpr uint32_t kBits = kHalf == 0 ? 0x08040201 : 0x80402010;
  const Lanes bits = Avx512::ShuffleBytes<kByte, kByte, kByte, kByte>(fields[16 + kPart / 4]);
  return _mm512_test_epi8_mask(bits, _mm512_set1_epi32(static_cast<int32_t>(kBits)));
}

struct BytesIq3S : GridIq3S, FoursArranged {
  static constexpr bool kSideBySide = true;
  using FoursArranged::kArranged;
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes mixed = MixSigns(fields[18 + kPart], 0x80);
    Half<0>(fields[2 * kPart], NinthBitsOfIq3S<kPart, 0>(fields), mixed, codes);
    Half<1>(fields[2 * kPart + 1], NinthBitsOfIq3S<kPart, 1>(fields), mixed, codes + 4);
  }

 private:
  template <int kHalf>
  static SLUICE_INLINE void Half(Lanes indices, __mmask64 ninth, Lanes mixed, Lanes* codes) {
    DecodeFours<kHalf, kOffset, kIq3SLevels>(&kIq3SPlanes, indices, HighBitsOf(indices, ninth), mixed, codes);
  }
};

// Entries of elements -1, 0 and 1, and deltas.
struct PairsIq1 : PairsArranged {
 protected:
  // Eight times an element plus 9, plus or minus one; minus where bit 4 of its byte of
  // `first` (of two entries) or `second` is set.
  template <class Table>
  static SLUICE_INLINE void DecodeFour(const Table& table, const Lanes (&indices)[4], Lanes first, Lanes second,
                                       Lanes* codes) {
    DecodeTwo(GatherPair(table, indices[0], indices[1]), first, codes);
    DecodeTwo(GatherPair(table, indices[2], indices[3]), second, codes + 4);
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
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes words = _mm512_srli_epi32(fields[8 + kPart / 2], kPart % 2 * 16);
    Lanes indices[4];
    Indices(fields[kPart], words, indices);
    // Bit 15 becomes bit 4 of every byte.
    const Lanes deltas = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2b2b2b2b0b0b0b0b), words);
    DecodeFour(kIq1Halves, indices, deltas, deltas, codes);
  }
};

struct BytesIq1M : GridIq1M, PairsIq1 {
  using PairsIq1::kArranged;
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes nibbles = _mm512_srli_epi32(fields[8 + kPart / 2], kPart % 2 * 16);
    Lanes indices[4];
    Indices(fields[kPart], nibbles, indices);
    // Bits 3 and 7, or 11 and 15, become bit 4 of alternate bytes.
    const Lanes first = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x231f231f033f033f), nibbles);
    const Lanes second = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2b272b270b070b07), nibbles);
    DecodeFour(kIq1Halves, indices, first, second, codes);
  }
};

// Several rows of interleaved iq1_s.
struct BytesIq1SLabels : ScalesIq1S<6>, PairsIq1 {
  using PairsIq1::kArranged;
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    constexpr int kBit = 3 * (kPart % 2);
    Lanes labels[4];
    LabelsOfPart<3, kBit, kBit + 2>(fields[kPart], fields[8 + kPart / 2], labels);
    // Bit 9 or 25 becomes bit 4 of every byte.
    const __m512i from = _mm512_set1_epi64(kPart % 2 == 0 ? 0x2525252505050505 : 0x3535353515151515);
    const Lanes deltas = _mm512_multishift_epi64_epi8(from, fields[8 + kPart / 2]);
    DecodeFour(kIq1HalvesByLabel, labels, deltas, deltas, codes);
  }
};

// Several rows of interleaved iq1_m.
struct BytesIq1MLabels : BytesIq1M {
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    constexpr int kBit = 4 * (kPart % 2);
    const Lanes high = fields[8 + kPart / 2];
    Lanes labels[4];
    LabelsOfPart<3, kBit, 4 - kBit>(fields[kPart], high, labels);
    // Bits 3 and 11, or 19 and 27, and those four bits above, become bit 4 of alternate bytes.
    const __m512i first = _mm512_set1_epi64(kBit == 0 ? 0x271f271f073f073f : 0x2b232b230b030b03);
    const __m512i second = _mm512_set1_epi64(kBit == 0 ? 0x372f372f170f170f : 0x3b333b331b131b13);
    DecodeFour(kIq1HalvesByLabel, labels, _mm512_multishift_epi64_epi8(first, high),
               _mm512_multishift_epi64_epi8(second, high), codes);
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CODEBOOKS_VBMI_H_
