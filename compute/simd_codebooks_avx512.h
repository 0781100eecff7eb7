// Code-book types as panels with AVX-512: look-ups by gathers, all outputs at once.
//
// The fields of a block are transposed first, so that a lane has the indices
// and signs of its output; eight-byte entries are gathered for eight outputs
// and parted into dwords. Constants of the formats are those of
// compute/simd_codebooks.h.
#ifndef SLUICE_COMPUTE_SIMD_CODEBOOKS_AVX512_H_
#define SLUICE_COMPUTE_SIMD_CODEBOOKS_AVX512_H_

#include <cstddef>
#include <cstdint>

#include "compute/codebooks.h"
#include "compute/simd_avx512.h"
#include "compute/simd_codebooks.h"
#include "compute/simd_kquants.h"
#include "compute/simd_panel.h"

namespace sluice {
namespace {

using Lanes = __m512i;  // a dword of each of sixteen outputs

SLUICE_INLINE Lanes Bits(Lanes a, int32_t mask) { return _mm512_and_si512(a, _mm512_set1_epi32(mask)); }
// Byte kByte of each lane.
template <int kByte>
SLUICE_INLINE Lanes ByteOf(Lanes a) {
  return Bits(_mm512_srli_epi32(a, 8 * kByte), 0xff);
}

SLUICE_INLINE __m512i GatherEight(__m256i indices, const void* table) {
  return _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), Avx512::EveryLane(), indices, table, 8);
}

// Entries of eight bytes as two dwords of codes.
template <class Table>
SLUICE_INLINE void LookupEight(const Table& table, Lanes indices, Lanes* codes) {
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  const __m512i low = GatherEight(_mm512_castsi512_si256(indices), &table);
  const __m512i high = GatherEight(_mm512_extracti64x4_epi64(indices, 1), &table);
  codes[0] = _mm512_permutex2var_epi32(low, even, high);
  codes[1] = _mm512_permutex2var_epi32(low, odd, high);
}
// Entries of four bytes.
template <class Table>
SLUICE_INLINE Lanes LookupFour(const Table& table, Lanes indices) {
  return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), Avx512::EveryLane(), indices, &table, 4);
}

// Magnitudes of group kGroup become signed, plus kOffset; its sign bits are byte kGroup.
template <int kOffset, int kGroup>
SLUICE_INLINE void ApplySigns(Lanes signs, Lanes* codes) {
  const __m512i spread = Avx512::ShuffleBytes<kGroup, kGroup, kGroup, kGroup>(signs);
  const __m512i offset = _mm512_set1_epi8(kOffset);
  const __mmask64 low = _mm512_test_epi8_mask(spread, _mm512_set1_epi32(0x08040201));
  const __mmask64 high = _mm512_test_epi8_mask(spread, _mm512_set1_epi32(static_cast<int32_t>(0x80402010u)));
  codes[0] = _mm512_mask_sub_epi8(_mm512_add_epi8(codes[0], offset), low, offset, codes[0]);
  codes[1] = _mm512_mask_sub_epi8(_mm512_add_epi8(codes[1], offset), high, offset, codes[1]);
}
template <int kOffset>
SLUICE_INLINE void ApplyAllSigns(Lanes signs, Lanes* codes) {
  ApplySigns<kOffset, 0>(signs, codes);
  ApplySigns<kOffset, 1>(signs, codes + 2);
  ApplySigns<kOffset, 2>(signs, codes + 4);
  ApplySigns<kOffset, 3>(signs, codes + 6);
}

// The odd scale of the kBits bits of each lane from kBit on.
template <int kBit, int kBits = 4>
SLUICE_INLINE Lanes OddScaleAt(Lanes lanes) {
  const Lanes doubled = kBit == 0 ? _mm512_add_epi32(lanes, lanes) : _mm512_srli_epi32(lanes, kBit == 0 ? 0 : kBit - 1);
  return _mm512_or_si512(Bits(doubled, (2 << kBits) - 2), _mm512_set1_epi32(1));
}

// Of a sub-block of 32.
template <class V>
SLUICE_INLINE void SetWideScale(Lanes scale, int b, Header256<V>* header) {
  header->scales[b] = scale;
  header->sum_pairs[b] = _mm512_or_si512(scale, _mm512_slli_epi32(scale, 16));
}
// Of the two groups of 16 in sub-block `b`.
template <class V>
SLUICE_INLINE void SetNarrowScales(Lanes first, Lanes second, int b, Header256<V>* header) {
  header->scales[2 * b] = first;
  header->scales[2 * b + 1] = second;
  header->sum_pairs[b] = _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
}
// From the byte of sub-block kPart, two nibbles, of eight bytes in two fields.
template <class V, int kPart, class Fields>
SLUICE_INLINE void SetNibbleScales(const Fields& fields, int first, Header256<V>* header) {
  constexpr int kBit = 8 * (kPart % 4);
  const Lanes nibbles = fields[first + kPart / 4];
  SetNarrowScales(OddScaleAt<kBit>(nibbles), OddScaleAt<kBit + 4>(nibbles), kPart, header);
}

// Row names the constants of a format, Self is the one that derives from this. Fields are the dwords of a block behind
// its scale, if it has one in front.
template <class Self, class Row>
struct GridFormat : KQuantFormat {
  static constexpr int kBytes = Row::kBytes;
  static constexpr int kOffset = Row::kMagnitude;
  static constexpr int kMaxCode = 2 * Row::kMagnitude;
  static constexpr int kGroupDwords = Row::kGroupDwords;
  static constexpr int kParts = 8;  // sub-blocks of 32
  static constexpr bool kStarts = true;
  static constexpr bool kPartScales = true;

  template <class V>
  static SLUICE_INLINE void DecodeFields(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    V::template TakeFields<kBytes / 4>(FieldAt<V>(bytes, kBytes % 4), stride, &header->common);
    header->unit = _mm512_mul_ps(Self::template UnitOf<V>(bytes, stride, *header), _mm512_set1_ps(Row::kUnitFactor));
  }
  template <class V>
  static SLUICE_INLINE void DecodeHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    DecodeFields<V>(bytes, stride, header);
    DecodeAllScales<V, 0>(header);
  }
  template <class V>
  static SLUICE_INLINE __m512 UnitOf(const uint8_t* bytes, size_t stride, const Header256<V>&) {
    return V::GatherHalves(bytes, stride);
  }

 private:
  template <class V, int kPart>
  static SLUICE_INLINE void DecodeAllScales(Header256<V>* header) {
    Self::template DecodeScales<V, kPart>(header);
    if constexpr (kPart + 1 < kParts) DecodeAllScales<V, kPart + 1>(header);
  }
};

struct GridIq2Xxs : GridFormat<GridIq2Xxs, RowIq2Xxs> {
  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    SetWideScale(OddScaleAt<28>(header->common[2 * kPart + 1]), kPart, header);
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes indices = fields[2 * kPart];
    LookupEight(kIq2XxsGrid, ByteOf<0>(indices), codes);
    LookupEight(kIq2XxsGrid, ByteOf<1>(indices), codes + 2);
    LookupEight(kIq2XxsGrid, ByteOf<2>(indices), codes + 4);
    LookupEight(kIq2XxsGrid, ByteOf<3>(indices), codes + 6);
    ApplyAllSigns<kOffset>(SignsOfSevens<Avx512>(fields[2 * kPart + 1]), codes);
  }
};

struct GridIq2Xs : GridFormat<GridIq2Xs, RowIq2Xs> {
  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    SetNibbleScales<V, kPart>(header->common, 16, header);
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes first = fields[2 * kPart], second = fields[2 * kPart + 1];
    LookupEight(kIq2XsGrid, Bits(first, 511), codes);
    LookupEight(kIq2XsGrid, Bits(_mm512_srli_epi32(first, 16), 511), codes + 2);
    LookupEight(kIq2XsGrid, Bits(second, 511), codes + 4);
    LookupEight(kIq2XsGrid, Bits(_mm512_srli_epi32(second, 16), 511), codes + 6);
    const Lanes sevens =
        _mm512_or_si512(Avx512::ShuffleBytes<1, 3, -1, -1>(first), Avx512::ShuffleBytes<-1, -1, 1, 3>(second));
    ApplyAllSigns<kOffset>(WithEighthSign<Avx512>(Bits(_mm512_srli_epi32(sevens, 1), 0x7f7f7f7f)), codes);
  }
};

struct GridIq2S : GridFormat<GridIq2S, RowIq2S> {
  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    SetNibbleScales<V, kPart>(header->common, 18, header);
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    Lanes indices[4];
    Indices<kPart>(fields, indices);
    SLUICE_UNROLL
    for (int l = 0; l < 4; ++l) LookupEight(kIq2SGrid, indices[l], codes + 2 * l);
    ApplyAllSigns<kOffset>(fields[8 + kPart], codes);
  }

 protected:
  template <int kPart, class Fields>
  static SLUICE_INLINE void Indices(const Fields& fields, Lanes* indices) {
    const Lanes low = fields[kPart];
    const Lanes high = _mm512_srli_epi32(fields[16 + kPart / 4], 8 * (kPart % 4));
    const auto index = [&](Lanes byte, Lanes shifted) { return _mm512_or_si512(byte, Bits(shifted, 0x300)); };
    indices[0] = index(ByteOf<0>(low), _mm512_slli_epi32(high, 8));
    indices[1] = index(ByteOf<1>(low), _mm512_slli_epi32(high, 6));
    indices[2] = index(ByteOf<2>(low), _mm512_slli_epi32(high, 4));
    indices[3] = index(ByteOf<3>(low), _mm512_slli_epi32(high, 2));
  }
};

struct GridIq3Xxs : GridFormat<GridIq3Xxs, RowIq3Xxs> {
  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    SetWideScale(OddScaleAt<28>(header->common[16 + kPart]), kPart, header);
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    SLUICE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const Lanes indices = fields[2 * kPart + i];
      codes[4 * i] = LookupFour(kIq3XxsGrid, ByteOf<0>(indices));
      codes[4 * i + 1] = LookupFour(kIq3XxsGrid, ByteOf<1>(indices));
      codes[4 * i + 2] = LookupFour(kIq3XxsGrid, ByteOf<2>(indices));
      codes[4 * i + 3] = LookupFour(kIq3XxsGrid, ByteOf<3>(indices));
    }
    ApplyAllSigns<kOffset>(SignsOfSevens<Avx512>(fields[16 + kPart]), codes);
  }
};

// Fields: 16 of indices, two of their ninth bits, eight of signs, one of scales.
struct GridIq3S : GridFormat<GridIq3S, RowIq3S> {
  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    SetWideScale(OddScaleAt<4 * kPart>(header->common[26]), kPart, header);
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes high = ByteOf<kPart % 4>(fields[16 + kPart / 4]);
    const auto lookup = [&](Lanes byte, Lanes shifted) {
      return LookupFour(kIq3SGrid, _mm512_or_si512(byte, Bits(shifted, 0x100)));
    };
    const Lanes first = fields[2 * kPart], second = fields[2 * kPart + 1];
    codes[0] = lookup(ByteOf<0>(first), _mm512_slli_epi32(high, 8));
    codes[1] = lookup(ByteOf<1>(first), _mm512_slli_epi32(high, 7));
    codes[2] = lookup(ByteOf<2>(first), _mm512_slli_epi32(high, 6));
    codes[3] = lookup(ByteOf<3>(first), _mm512_slli_epi32(high, 5));
    codes[4] = lookup(ByteOf<0>(second), _mm512_slli_epi32(high, 4));
    codes[5] = lookup(ByteOf<1>(second), _mm512_slli_epi32(high, 3));
    codes[6] = lookup(ByteOf<2>(second), _mm512_slli_epi32(high, 2));
    codes[7] = lookup(ByteOf<3>(second), _mm512_slli_epi32(high, 1));
    ApplyAllSigns<kOffset>(fields[18 + kPart], codes);
  }
};

// Bytes -1, 0 and 1 become eight times that plus 8, plus `delta`: 2, or 0 where
// the delta is negative.
SLUICE_INLINE void AddDelta(Lanes delta, Lanes* codes) {
  alignas(16) static constexpr int8_t kEightfold[16] = {8, 16};
  codes[0] = _mm512_add_epi8(Avx512::Lookup(kEightfold, codes[0]), delta);
  codes[1] = _mm512_add_epi8(Avx512::Lookup(kEightfold, codes[1]), delta);
}

// 2 in every byte, or 0 where kBit is set.
template <int kBit>
SLUICE_INLINE Lanes DeltaOf(Lanes words) {
  const __mmask16 negative = _mm512_test_epi32_mask(words, _mm512_set1_epi32(kBit));
  return _mm512_mask_blend_epi32(negative, _mm512_set1_epi8(2), _mm512_setzero_si512());
}

// Where scales are three bits from kScaleBit on.
template <int kScaleBit>
struct ScalesIq1S : GridFormat<ScalesIq1S<kScaleBit>, RowIq1S> {
  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    SetWideScale(OddScaleAt<kPart % 2 * 16 + kScaleBit, 3>(header->common[8 + kPart / 2]), kPart, header);
  }
};

struct GridIq1S : ScalesIq1S<12> {
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes words = _mm512_srli_epi32(fields[8 + kPart / 2], kPart % 2 * 16);
    const Lanes delta = DeltaOf<0x8000>(words);
    Lanes indices[4];
    Indices(fields[kPart], words, indices);
    SLUICE_UNROLL
    for (int l = 0; l < 4; ++l) {
      LookupEight(kIq1Grid, indices[l], codes + 2 * l);
      AddDelta(delta, codes + 2 * l);
    }
  }

 protected:
  static SLUICE_INLINE void Indices(Lanes low, Lanes words, Lanes* indices) {
    const auto index = [&](Lanes byte, Lanes shifted) { return _mm512_or_si512(byte, Bits(shifted, 0x700)); };
    indices[0] = index(ByteOf<0>(low), _mm512_slli_epi32(words, 8));
    indices[1] = index(ByteOf<1>(low), _mm512_slli_epi32(words, 5));
    indices[2] = index(ByteOf<2>(low), _mm512_slli_epi32(words, 2));
    indices[3] = index(ByteOf<3>(low), _mm512_srli_epi32(words, 1));
  }
};

struct GridIq1M : GridFormat<GridIq1M, RowIq1M> {
  template <class V>
  static SLUICE_INLINE __m512 UnitOf(const uint8_t*, size_t, const Header256<V>& header) {
    return Avx512::HalfToFloat(TopNibbles<Avx512>(header.common[12], header.common[13]));
  }
  template <class V, int kPart>
  static SLUICE_INLINE void DecodeScales(Header256<V>* header) {
    constexpr int kBit = kPart / 2 % 2 * 16 + kPart % 2 * 6;
    const Lanes threes = header->common[12 + kPart / 4];
    SetNarrowScales(OddScaleAt<kBit, 3>(threes), OddScaleAt<kBit + 3, 3>(threes), kPart, header);
  }
  template <class V, int kPart, class Fields>
  static SLUICE_INLINE void DecodePart(const uint8_t*, size_t, const Fields& fields, Lanes* codes) {
    const Lanes nibbles = _mm512_srli_epi32(fields[8 + kPart / 2], kPart % 2 * 16);
    Lanes indices[4];
    Indices(fields[kPart], nibbles, indices);
    SLUICE_UNROLL
    for (int l = 0; l < 4; ++l) LookupEight(kIq1Grid, indices[l], codes + 2 * l);
    AddDelta(DeltaOf<0x8>(nibbles), codes);
    AddDelta(DeltaOf<0x80>(nibbles), codes + 2);
    AddDelta(DeltaOf<0x800>(nibbles), codes + 4);
    AddDelta(DeltaOf<0x8000>(nibbles), codes + 6);
  }

 protected:
  static SLUICE_INLINE void Indices(Lanes low, Lanes nibbles, Lanes* indices) {
    const auto index = [&](Lanes byte, Lanes shifted) { return _mm512_or_si512(byte, Bits(shifted, 0x700)); };
    indices[0] = index(ByteOf<0>(low), _mm512_slli_epi32(nibbles, 8));
    indices[1] = index(ByteOf<1>(low), _mm512_slli_epi32(nibbles, 4));
    indices[2] = index(ByteOf<2>(low), nibbles);
    indices[3] = index(ByteOf<3>(low), _mm512_srli_epi32(nibbles, 4));
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CODEBOOKS_AVX512_H_
