// One row of code-book types with AVX-512 VBMI and GFNI, where it is not decoded as several rows are.
//
// Each struct is what OneRowFormat says of a format of compute/simd_codebooks_vbmi.h; the frame is
// compute/simd_one_row.h. Linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_CODEBOOK_ROWS_VBMI_H_
#define SLUICE_COMPUTE_SIMD_CODEBOOK_ROWS_VBMI_H_

#include <cstddef>
#include <cstdint>

#include "compute/codebooks.h"
#include "compute/simd_codebooks_vbmi.h"
#include "compute/simd_labels_vbmi.h"
#include "compute/simd_one_row.h"

namespace sluice {
namespace {

// The odd scales of kBits bits each from bits kFirst and kSecond of each lane on, in its words; taken from a bit
// before, which doubles them.
template <int kBits, int kFirst, int kSecond>
SLUICE_INLINE Lanes OddScalePair(Lanes bits) {
  constexpr uint64_t kLow = (kFirst + 63) % 64 | static_cast<uint64_t>(kSecond - 1) << 16;
  constexpr uint64_t kHigh = (kFirst + 31) | static_cast<uint64_t>(kSecond + 31) << 16;
  constexpr int kMask = (2 << kBits) - 2;
  const Lanes doubled = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(static_cast<int64_t>(kLow | kHigh << 32)), bits);
  return Avx512::Merge(_mm512_set1_epi32(kMask * 0x00010001), doubled, _mm512_set1_epi32(0x00010001));
}

// One row of iq2_xs and iq2_s: neighbouring codes of a dword share a sub-scale, not all four. To bring two bytes of
// each half together instead, as several rows have them, would be nine operations in 67. Scales are two fields from
// kScaleField on.
template <class Grid, int kScaleField>
struct RowOfPairs : Grid, EightsArranged {
  using EightsArranged::kArranged;
  static constexpr bool kStarts = false;
  static constexpr bool kPairScales = true;

  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    constexpr int kBit = kPart % 4 * 8;
    header->sum_pairs[kPart] = OddScalePair<4, kBit, kBit + 4>(header->common[kScaleField + kPart / 4]);
  }
};

struct RowIq2XsPlanes : RowOfPairs<GridIq2Xs, 16> {
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    // The low and the high bytes of four words.
    const Lanes words = fields[2 * kPart], more = fields[2 * kPart + 1];
    const Lanes low = BytesOfWords<0>(words, more), high = BytesOfWords<1>(words, more);
    const __mmask64 ninth = _mm512_test_epi8_mask(high, _mm512_set1_epi8(1));
    DecodePlanes<kOffset, 1>(kIq2XsPlanes, low, HighBitsOf(low, ninth), high, codes);
  }

 private:
  template <int kByte>
  static SLUICE_INLINE Lanes BytesOfWords(Lanes words, Lanes more) {
    const Lanes first = Avx512::ShuffleBytes<kByte, 2 + kByte, -1, -1>(words);
    const Lanes order = Avx512::OrderOf<-1, -1, kByte, 2 + kByte>();
    return _mm512_mask_shuffle_epi8(first, 0xcccccccccccccccc, more, order);
  }
};
template <>
struct OneRowFormat<BytesIq2Xs> {
  using Type = RowIq2XsPlanes;
};

// One row of interleaved iq2_xs.
struct RowIq2XsLabels : RowIq2XsPlanes {
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes labels = fields[2 * kPart], signs = fields[2 * kPart + 1];
    Lanes first, second;
    LookupLabels<LabelsIq2Xs>(kIq2XsLabelHalves, labels, {_mm512_test_epi8_mask(signs, _mm512_set1_epi8(1))}, &first,
                              &second);
    DecodeHalves<kOffset, 7, 1>(first, second, signs, codes);
  }
};
template <>
struct OneRowFormat<BytesIq2XsLabels> {
  using Type = RowIq2XsLabels;
};

// One row of interleaved iq2_s.
struct RowIq2SLabels : RowOfPairs<GridIq2S, 18> {
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    constexpr int kBit = 2 * (kPart % 4);
    Lanes first, second;
    LookupPart<LabelsIq2S, kBit, 6 - kBit>(kIq2SLabelHalves, fields[kPart], fields[16 + kPart / 4], &first, &second);
    DecodeHalves<kOffset>(first, second, fields[8 + kPart], codes);
  }
};
template <>
struct OneRowFormat<BytesIq2SLabels> {
  using Type = RowIq2SLabels;
};

// One row of iq3_s, whose levels are 2 * l + 1: so is the code 2 * c - 15 of a nibble c = 8 + l, and that of its ones'
// complement the negative one. No look-up then for levels, which permutations alone would have made slow.
struct RowIq3SNibbles : GridIq3S, FoursArranged {
  using FoursArranged::kArranged;
  static constexpr int kMaxCode = 30;
  static constexpr int kNibbleFactor = 2;

  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes signs = fields[18 + kPart];
    Half(fields[2 * kPart], NinthBitsOfIq3S<kPart, 0>(fields),
         _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2c2824200c080400), signs), codes);
    Half(fields[2 * kPart + 1], NinthBitsOfIq3S<kPart, 1>(fields),
         _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x3c3834301c181410), signs), codes + 4);
  }

 private:
  // Four entries; their signs are in the low nibbles of `signs`.
  static SLUICE_INLINE void Half(Lanes indices, __mmask64 ninth, Lanes signs, Lanes* codes) {
    const uint8_t* planes = reinterpret_cast<const uint8_t*>(&kIq3SNibbles);
    const HighBits<3> high = HighBitsOf(indices, ninth);
    Pair<0>(LookupPlane(planes, indices, high), signs, codes);
    Pair<2>(LookupPlane(planes + 512, indices, high), signs, codes + 2);
  }
  template <int kElement>
  static SLUICE_INLINE void Pair(Lanes nibbles, Lanes signs, Lanes* codes) {
    constexpr uint8_t kEven = 1 << kElement, kOdd = 2 << kElement;
    const Lanes flips = MapBits(signs, BitMatrix({kEven, kEven, kEven, kEven, kOdd, kOdd, kOdd, kOdd}));
    codes[0] = FlippedWithin(_mm512_set1_epi8(0x0f), nibbles, flips);
    codes[1] = FlippedWithin(_mm512_set1_epi8(static_cast<char>(0xf0)), nibbles, flips);
  }
  static SLUICE_INLINE Lanes FlippedWithin(Lanes mask, Lanes nibbles, Lanes flips) {
    return _mm512_ternarylogic_epi32(mask, nibbles, flips, 0x60);
  }
};
template <>
struct OneRowFormat<BytesIq3S> {
  using Type = RowIq3SNibbles;
};

// One row of iq1_s: with levels l of 0 to 2 a sub-block is 8 * sum l * a - (8 - delta) * sum a, so codes are small, and
// its delta enters by the sums of activations.
struct RowIq1SNibbles : GridIq1S {
  static constexpr bool kStarts = false;
  static constexpr int kNibbleFactor = 1;
  static constexpr int kMaxCode = 2;
  static constexpr int kOffset = 1;

  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    // Scale and sign of the delta, the four upper bits of a word, in bytes 0 and 2.
    const __m512i from = _mm512_set1_epi64(kPart % 2 == 0 ? 0x002c002c000c000c : 0x003c003c001c001c);
    const Lanes four = _mm512_multishift_epi64_epi8(from, header->common[8 + kPart / 2]);
    header->scales[kPart] = Multiples<8, 8>(four, 0x1111111111111111);
    header->sum_pairs[kPart] = Multiples<7, 9>(four, 0x5555555555555555);
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    Lanes indices[4];
    Indices(fields[kPart], _mm512_srli_epi32(fields[8 + kPart / 2], kPart % 2 * 16), indices);
    SLUICE_UNROLL
    for (int l = 0; l < 4; ++l) {
      const Lanes both = LookupFour(kIq1Nibbles, indices[l]);
      codes[2 * l] = _mm512_and_si512(both, _mm512_set1_epi8(0x0f));
      codes[2 * l + 1] = _mm512_and_si512(both, _mm512_set1_epi8(static_cast<char>(0xf0)));
    }
  }

 private:
  // By three bits of scale and the sign of the delta above them: the odd scale times kPlus or kMinus.
  template <int kPlus, int kMinus>
  struct Table {
    alignas(64) uint8_t bytes[64];
    constexpr Table() : bytes{} {
      for (unsigned i = 0; i < 64; ++i) {
        bytes[i] = static_cast<uint8_t>((2 * (i & 7) + 1) * ((i & 8) != 0 ? kMinus : kPlus));
      }
    }
  };
  template <int kPlus, int kMinus>
  static SLUICE_INLINE Lanes Multiples(Lanes four, __mmask64 bytes) {
    static constexpr Table<kPlus, kMinus> kTable;
    return _mm512_maskz_permutexvar_epi8(bytes, four, _mm512_load_si512(kTable.bytes));
  }
};
template <>
struct OneRowFormat<BytesIq1S> {
  using Type = RowIq1SNibbles;
};

// The bytes of two multipliers, words: 8 times the odd scale, and minus 7 times the odd scale or minus 9 times it,
// by the sign of the delta.
struct Iq1SMultipliers {
  alignas(64) uint8_t bytes[64];
  constexpr Iq1SMultipliers() : bytes{0, 0xff} {
    for (int i = 0; i < 16; ++i) {
      const int scale = 2 * (i & 7) + 1;
      bytes[16 + i] = static_cast<uint8_t>(8 * scale);
      bytes[32 + 2 * i] = static_cast<uint8_t>((i & 8) != 0 ? -9 * scale : -7 * scale);
    }
  }
};

// One row of interleaved iq1_s: halves of entries by label, two bits for each of their levels.
struct RowIq1SLabels : ScalesIq1S<6>, EightsArranged {
  using EightsArranged::kArranged;
  static constexpr bool kStarts = false;
  static constexpr bool kSumWords = true;
  static constexpr int kMaxCode = 2;

  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    // Scale and sign of the delta are the bits 6 to 9 of a word. A bit set behind them makes them an index from 16 on,
    // or one bit lower an even one from 32 on; taken from that bit on, an index is 1, and behind it 0.
    constexpr int64_t kWord = kPart % 2 * 16;
    constexpr int64_t kFrom = (6 + kWord) | 11 << 8 | (5 + kWord) << 16 | 10 << 24;
    const Lanes four =
        Avx512::Merge(_mm512_set1_epi32(0x03c003c0), header->common[8 + kPart / 2], _mm512_set1_epi32(0x04000400));
    const Lanes indices = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(kFrom | (kFrom + 0x20202020) << 32), four);
    static constexpr Iq1SMultipliers kTable;
    header->sum_pairs[kPart] = _mm512_permutexvar_epi8(indices, _mm512_load_si512(kTable.bytes));
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    constexpr int kBit = 3 * (kPart % 2);
    Lanes first, second;
    LookupPart<LabelsIq1, kBit, kBit + 2>(kIq1LabelHalves, fields[kPart], fields[8 + kPart / 2], &first, &second);
    Levels(first, codes);
    Levels(second, codes + 4);
  }

 private:
  static SLUICE_INLINE void Levels(Lanes half, Lanes* codes) {
    codes[0] = MapBits(half, BitMatrix({0x01, 0x02, 0, 0, 0, 0, 0, 0}));
    codes[1] = MapBits(half, BitMatrix({0x04, 0x08, 0, 0, 0, 0, 0, 0}));
    codes[2] = MapBits(half, BitMatrix({0x10, 0x20, 0, 0, 0, 0, 0, 0}));
    codes[3] = MapBits(half, BitMatrix({0x40, 0x80, 0, 0, 0, 0, 0, 0}));
  }
};
template <>
struct OneRowFormat<BytesIq1SLabels> {
  using Type = RowIq1SLabels;
};

// One row of interleaved iq1_m: with levels l of 0 to 2 and d 1 or 0 for a positive delta or not, eight times a weight
// is 2 * (4 * l + d) - 9. Of the codes 4 * l + d those of the two last levels of a half stand two bits higher.
struct RowIq1MLabels : GridIq1M, EightsArranged {
  using EightsArranged::kArranged;
  static constexpr bool kStarts = false;
  static constexpr bool kPairScales = true;
  static constexpr bool kQuadPairs = true;

  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    constexpr int kBit = kPart / 2 % 2 * 16 + kPart % 2 * 6;
    header->sum_pairs[kPart] = OddScalePair<3, kBit, kBit + 3>(header->common[12 + kPart / 4]);
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    constexpr int kBit = 4 * (kPart % 2);
    const Lanes high = fields[8 + kPart / 2];
    Lanes first, second;
    LookupPart<LabelsIq1, kBit, 4 - kBit>(kIq1LabelHalves, fields[kPart], high, &first, &second);
    constexpr uint8_t kDelta = 8 << kBit;
    const Lanes low = MapBits<0x01>(high, BitMatrix({kDelta, 0, 0, 0, 0, 0, 0, 0}));
    const Lanes quad = MapBits<0x04>(high, BitMatrix({0, 0, kDelta, 0, 0, 0, 0, 0}));
    Levels(first, low, quad, codes);
    Levels(second, low, quad, codes + 4);
  }

 private:
  static SLUICE_INLINE void Levels(Lanes half, Lanes low, Lanes quad, Lanes* codes) {
    const Lanes turned = MapBits(half, BitMatrix({0, 0, 0x01, 0x02, 0x40, 0x80, 0, 0}));
    const Lanes low_level = _mm512_set1_epi8(0x0c), quad_level = _mm512_set1_epi8(0x30);
    codes[0] = Avx512::Merge(low_level, turned, low);
    codes[1] = Avx512::Merge(low_level, half, low);
    codes[2] = Avx512::Merge(quad_level, half, quad);
    codes[3] = Avx512::Merge(quad_level, turned, quad);
  }
};
template <>
struct OneRowFormat<BytesIq1MLabels> {
  using Type = RowIq1MLabels;
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CODEBOOK_ROWS_VBMI_H_
