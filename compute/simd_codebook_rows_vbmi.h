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
#include "compute/simd_one_row.h"

namespace sluice {
namespace {

// The two nibbles of byte kByte as odd scales in the words of a lane; words are taken from a bit before their nibble
// on, which doubles it.
template <int kByte>
SLUICE_INLINE Lanes OddNibblePair(Lanes nibbles) {
  constexpr int64_t kFrom[] = {0x0023001f0003003f, 0x002b0027000b0007, 0x0033002f0013000f, 0x003b0037001b0017};
  const Lanes doubled = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(kFrom[kByte]), nibbles);
  return _mm512_or_si512(Bits(doubled, 0x001e001e), _mm512_set1_epi32(0x00010001));
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
    header->sum_pairs[kPart] = OddNibblePair<kPart % 4>(header->common[kScaleField + kPart / 4]);
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

// Halves of entries by their labels: the second ones from a plane, the first ones from as few parts as differ.
template <int kMasks>
SLUICE_INLINE Lanes LookupFirstHalf(const uint8_t* halves, Lanes labels, const HighBits<kMasks>& high) {
  Lanes found = _mm512_permutexvar_epi8(labels, _mm512_load_si512(halves));
  __mmask64 where = ~__mmask64{0};
  SLUICE_UNROLL
  for (int i = 1; i <= kMasks; ++i) {
    where &= high.masks[kMasks - i];
    found = _mm512_mask_permutexvar_epi8(found, where, labels, _mm512_load_si512(halves + 64 * i));
  }
  return found;
}

// One row of interleaved iq2_xs.
struct RowIq2XsLabels : RowIq2XsPlanes {
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes labels = fields[2 * kPart], signs = fields[2 * kPart + 1];
    const HighBits<3> high = HighBitsOf(labels, _mm512_test_epi8_mask(signs, _mm512_set1_epi8(1)));
    const Lanes first = LookupFirstHalf(reinterpret_cast<const uint8_t*>(&kIq2XsFirstHalves), labels, high);
    const Lanes second = LookupPlane(reinterpret_cast<const uint8_t*>(&kIq2XsSecondHalves), labels, high);
    DecodeHalves<kOffset, 7, 1>(first, second, signs, codes);
  }
};
template <>
struct OneRowFormat<BytesIq2XsLabels> {
  using Type = RowIq2XsLabels;
};

// One row of interleaved iq2_s: 21 permutations instead of 32, and instead of gathers, which leave too little else to
// be issued.
struct RowIq2SLabels : RowOfPairs<GridIq2S, 18> {
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    constexpr int kByte = kPart % 4;
    const Lanes labels = fields[kPart];
    const Lanes rest = Avx512::ShuffleBytes<kByte, kByte, kByte, kByte>(fields[16 + kPart / 4]);
    const HighBits<2> low = HighBitsOf(labels);
    const HighBits<4> high = {{low.masks[0], low.masks[1], _mm512_test_epi8_mask(rest, _mm512_set1_epi32(0x40100401)),
                               _mm512_test_epi8_mask(rest, _mm512_set1_epi32(static_cast<int32_t>(0x80200802u)))}};
    const Lanes first = LookupFirstHalf(reinterpret_cast<const uint8_t*>(&kIq2SFirstHalves), labels, high);
    const Lanes second = LookupPlane(reinterpret_cast<const uint8_t*>(&kIq2SSecondHalves), labels, high);
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

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CODEBOOK_ROWS_VBMI_H_
