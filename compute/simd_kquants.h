// K-quants and iq4_xs as panels; the formats are those of docs/formats.md, the
// frame is compute/simd_panel.h.
#ifndef SLUICE_COMPUTE_SIMD_KQUANTS_H_
#define SLUICE_COMPUTE_SIMD_KQUANTS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "compute/codebooks.h"
#include "compute/kernel_set.h"
#include "compute/simd_panel.h"

namespace sluice {
namespace {

template <class V>
SLUICE_INLINE typename V::Int LowNibbles(typename V::Int bytes) {
  return V::And(bytes, V::Set1(0x0f0f0f0f));
}
template <class V>
SLUICE_INLINE typename V::Int HighNibbles(typename V::Int bytes) {
  return V::And(V::template ShiftRight<4>(bytes), V::Set1(0x0f0f0f0f));
}
template <class V>
SLUICE_INLINE typename V::Float LowHalf(typename V::Int dwords) {
  return V::HalfToFloat(dwords);
}
template <class V>
SLUICE_INLINE typename V::Float HighHalf(typename V::Int dwords) {
  return V::HalfToFloat(V::template ShiftRight<16>(dwords));
}
template <class V>
SLUICE_INLINE typename V::Float NegatedHighHalf(typename V::Int dwords) {
  return HighHalf<V>(V::Xor(dwords, V::Set1(static_cast<int32_t>(0x80000000u))));
}

// Four unsigned bytes per lane: the minimums of four groups of 16.
template <class V>
SLUICE_INLINE void SetPairs(typename V::Int bytes, typename V::Int* pairs) {
  pairs[0] = V::template ShuffleBytes<0, -1, 1, -1>(bytes);
  pairs[1] = V::template ShuffleBytes<2, -1, 3, -1>(bytes);
}
// Of four groups of 32, which are two groups of 16 each.
template <class V>
SLUICE_INLINE void SetDoubledPairs(typename V::Int bytes, typename V::Int* pairs) {
  pairs[0] = V::template ShuffleBytes<0, -1, 0, -1>(bytes);
  pairs[1] = V::template ShuffleBytes<1, -1, 1, -1>(bytes);
  pairs[2] = V::template ShuffleBytes<2, -1, 2, -1>(bytes);
  pairs[3] = V::template ShuffleBytes<3, -1, 3, -1>(bytes);
}

// Four unsigned sub-scales.
template <class V, class F>
SLUICE_INLINE void SetScales(typename V::Int bytes, typename V::Int* scales) {
  using Products = ProductsOf<V, F>;
  scales[0] = Products::template UnsignedScale<0>(bytes);
  scales[1] = Products::template UnsignedScale<1>(bytes);
  scales[2] = Products::template UnsignedScale<2>(bytes);
  scales[3] = Products::template UnsignedScale<3>(bytes);
}
template <class V, class F>
SLUICE_INLINE void SetSignedScales(typename V::Int bytes, typename V::Int* scales) {
  using Products = ProductsOf<V, F>;
  scales[0] = Products::template SignedScale<0>(bytes);
  scales[1] = Products::template SignedScale<1>(bytes);
  scales[2] = Products::template SignedScale<2>(bytes);
  scales[3] = Products::template SignedScale<3>(bytes);
}
// Signed scales as multipliers of group sums.
template <class V>
SLUICE_INLINE void SetSignedPairs(typename V::Int bytes, typename V::Int* pairs) {
  pairs[0] = V::template WordsShiftRightSigned<8>(V::template ShuffleBytes<-1, 0, -1, 1>(bytes));
  pairs[1] = V::template WordsShiftRightSigned<8>(V::template ShuffleBytes<-1, 2, -1, 3>(bytes));
}
template <class V>
SLUICE_INLINE void SetDoubledSignedPairs(typename V::Int bytes, typename V::Int* pairs) {
  pairs[0] = V::template WordsShiftRightSigned<8>(V::template ShuffleBytes<-1, 0, -1, 0>(bytes));
  pairs[1] = V::template WordsShiftRightSigned<8>(V::template ShuffleBytes<-1, 1, -1, 1>(bytes));
  pairs[2] = V::template WordsShiftRightSigned<8>(V::template ShuffleBytes<-1, 2, -1, 2>(bytes));
  pairs[3] = V::template WordsShiftRightSigned<8>(V::template ShuffleBytes<-1, 3, -1, 3>(bytes));
}

// The first 16 bytes of q4_K and q5_K: d, dmin, eight 6-bit scales and minimums.
template <class V, class F>
SLUICE_INLINE void DecodeSixBitHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
  typename V::Int fields[4];
  V::Transpose16(bytes, stride, fields);
  header->unit = LowHalf<V>(fields[0]);
  header->min_unit = NegatedHighHalf<V>(fields[0]);
  const typename V::Int six_bits = V::Set1(0x3f3f3f3f);
  const typename V::Int top_bits = V::Set1(0x30303030);
  const typename V::Int high_scales = V::And(V::template ShiftRight<2>(fields[1]), top_bits);
  const typename V::Int high_minimums = V::And(V::template ShiftRight<2>(fields[2]), top_bits);
  SetScales<V, F>(V::And(fields[1], six_bits), header->scales);
  SetScales<V, F>(V::Or(LowNibbles<V>(fields[3]), high_scales), header->scales + 4);
  SetDoubledPairs<V>(V::And(fields[2], six_bits), header->sum_pairs);
  SetDoubledPairs<V>(V::Or(HighNibbles<V>(fields[3]), high_minimums), header->sum_pairs + 4);
}

struct KQuantFormat {
  template <class V>
  using Panel = Panel256<V>;
  static constexpr int kOffset = 0;
  static constexpr bool kWide = false;
  static constexpr bool kMinimums = false;
  static constexpr bool kFoldScales = false;  // codes times sub-scales fit a byte
  static constexpr bool kArranged = false;    // activations go through Arrange() first
  static constexpr bool kFactors = false;     // activations are kQ8Groups256
  static constexpr bool kSideBySide = false;
  static constexpr bool kStarts = false;
  static constexpr bool kPartScales = false;
  static constexpr bool kPairScales = false;
  static constexpr bool kQuadPairs = false;
  static constexpr bool kSumWords = false;
  static constexpr int kNibbleFactor = 0;
};

struct FormatQ4K : KQuantFormat {
  static constexpr bool kFactors = true;
  static constexpr int kBytes = 144;
  static constexpr int kMaxCode = 15;
  static constexpr int kGroupDwords = 8;
  static constexpr int kParts = 4;
  static constexpr bool kMinimums = true;

  template <class V>
  static SLUICE_INLINE void DecodeHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    DecodeSixBitHeader<V, FormatQ4K>(bytes, stride, header);
  }
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t* bytes, size_t stride, const typename V::Int*,
                                       typename V::Int* codes) {
    typename V::Int raw[8];
    V::Transpose32(bytes + 16 + 32 * kPart, stride, raw);
    SLUICE_UNROLL
    for (int k = 0; k < 8; ++k) {
      codes[k] = LowNibbles<V>(raw[k]);
      codes[8 + k] = HighNibbles<V>(raw[k]);
    }
  }
};

struct FormatQ5K : KQuantFormat {
  static constexpr bool kFactors = true;
  static constexpr int kBytes = 176;
  static constexpr int kMaxCode = 31;
  static constexpr int kGroupDwords = 8;
  static constexpr int kParts = 4;
  static constexpr bool kMinimums = true;

  template <class V>
  static SLUICE_INLINE void DecodeHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    DecodeSixBitHeader<V, FormatQ5K>(bytes, stride, header);
    V::Transpose32(bytes + 16, stride, header->common);
  }
  template <class V, int kPair>
  static SLUICE_INLINE void DecodePart(const uint8_t* bytes, size_t stride, const typename V::Int* high,
                                       typename V::Int* codes) {
    const typename V::Int nibble = V::Set1(0x0f0f0f0f);
    const typename V::Int five_bits = V::Set1(0x1f1f1f1f);
    typename V::Int raw[8];
    V::Transpose32(bytes + 48 + 32 * kPair, stride, raw);
    SLUICE_UNROLL
    for (int k = 0; k < 8; ++k) {
      // Bits 2 * kPair and 2 * kPair + 1 of a high byte, each to bit 4.
      typename V::Int even, odd;
      if constexpr (kPair < 2) {
        even = V::template ShiftLeft<4 - 2 * kPair>(high[k]);
        odd = V::template ShiftLeft<3 - 2 * kPair>(high[k]);
      } else {
        even = V::template ShiftRight<2 * kPair - 4>(high[k]);
        odd = V::template ShiftRight<2 * kPair - 3>(high[k]);
      }
      codes[k] = V::And(V::Merge(nibble, raw[k], even), five_bits);
      codes[8 + k] = V::And(V::Merge(nibble, V::template ShiftRight<4>(raw[k]), odd), five_bits);
    }
  }
};

struct FormatQ6K : KQuantFormat {
  static constexpr bool kFactors = true;
  static constexpr int kBytes = 210;
  static constexpr int kMaxCode = 63;
  static constexpr int kOffset = 32;
  static constexpr int kGroupDwords = 4;
  static constexpr int kParts = 2;

  template <class V, int kHalf>
  static SLUICE_INLINE void DecodePart(const uint8_t* bytes, size_t stride, const typename V::Int*,
                                       typename V::Int* codes) {
    const uint8_t* low = bytes + 64 * kHalf;
    const uint8_t* high = bytes + 128 + 32 * kHalf;
    const typename V::Int nibble = V::Set1(0x0f0f0f0f);
    const typename V::Int six_bits = V::Set1(0x3f3f3f3f);
    typename V::Int a[8], b[8], h[8];
    V::Transpose32(low, stride, a);
    V::Transpose32(low + 32, stride, b);
    V::Transpose32(high, stride, h);
    SLUICE_UNROLL
    for (int k = 0; k < 8; ++k) {
      codes[k] = V::And(V::Merge(nibble, a[k], V::template ShiftLeft<4>(h[k])), six_bits);
      codes[8 + k] = V::And(V::Merge(nibble, b[k], V::template ShiftLeft<2>(h[k])), six_bits);
      codes[16 + k] = V::And(V::Merge(nibble, V::template ShiftRight<4>(a[k]), h[k]), six_bits);
      codes[24 + k] =
          V::And(V::Merge(nibble, V::template ShiftRight<4>(b[k]), V::template ShiftRight<2>(h[k])), six_bits);
    }
  }
  template <class V>
  static SLUICE_INLINE void DecodeHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    typename V::Int scales[4];
    V::Transpose16(bytes + 192, stride, scales);
    for (int i = 0; i < 4; ++i) {
      SetSignedScales<V, FormatQ6K>(scales[i], header->scales + 4 * i);
      SetSignedPairs<V>(scales[i], header->sum_pairs + 2 * i);
    }
    header->unit = HighHalf<V>(V::GatherDwords(bytes + 206, stride));
  }
};

// Two-bit codes of a half: bits 2j and 2j + 1 of byte l are element 32 * j + l.
template <class V>
SLUICE_INLINE void TwoBitCodes(const typename V::Int (&raw)[8], typename V::Int* codes) {
  const typename V::Int two_bits = V::Set1(0x03030303);
  SLUICE_UNROLL
  for (int k = 0; k < 8; ++k) {
    codes[k] = V::And(raw[k], two_bits);
    codes[8 + k] = V::And(V::template ShiftRight<2>(raw[k]), two_bits);
    codes[16 + k] = V::And(V::template ShiftRight<4>(raw[k]), two_bits);
    codes[24 + k] = V::And(V::template ShiftRight<6>(raw[k]), two_bits);
  }
}

struct FormatQ2K : KQuantFormat {
  static constexpr bool kFoldScales = true;
  static constexpr int kBytes = 84;
  static constexpr int kMaxCode = 3;
  static constexpr int kGroupDwords = 4;
  static constexpr int kParts = 2;
  static constexpr bool kMinimums = true;

  template <class V>
  static SLUICE_INLINE void DecodeHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    typename V::Int scales[4];
    V::Transpose16(bytes, stride, scales);
    for (int i = 0; i < 4; ++i) {
      SetScales<V, FormatQ2K>(LowNibbles<V>(scales[i]), header->scales + 4 * i);
      SetPairs<V>(HighNibbles<V>(scales[i]), header->sum_pairs + 2 * i);
    }
    const typename V::Int units = V::GatherDwords(bytes + 80, stride);
    header->unit = LowHalf<V>(units);
    header->min_unit = NegatedHighHalf<V>(units);
  }
  template <class V, int kHalf>
  static SLUICE_INLINE void DecodePart(const uint8_t* bytes, size_t stride, const typename V::Int*,
                                       typename V::Int* codes) {
    typename V::Int raw[8];
    V::Transpose32(bytes + 16 + 32 * kHalf, stride, raw);
    TwoBitCodes<V>(raw, codes);
  }
};

struct FormatQ3K : KQuantFormat {
  static constexpr bool kFoldScales = true;
  static constexpr int kBytes = 110;
  static constexpr int kMaxCode = 7;
  static constexpr int kOffset = 4;
  static constexpr int kGroupDwords = 4;
  static constexpr int kParts = 2;

  // Bit kBit of the mask bytes becomes bit 2 of the codes of one group of 32.
  template <class V, int kBit>
  static SLUICE_INLINE void AddHighBit(const typename V::Int* mask, typename V::Int* codes) {
    const typename V::Int third_bit = V::Set1(0x04040404);
    SLUICE_UNROLL
    for (int k = 0; k < 8; ++k) {
      if constexpr (kBit < 2) {
        codes[k] = V::Or(codes[k], V::And(V::template ShiftLeft<2 - kBit>(mask[k]), third_bit));
      } else {
        codes[k] = V::Or(codes[k], V::And(V::template ShiftRight<kBit - 2>(mask[k]), third_bit));
      }
    }
  }
  template <class V, int kShift>
  static SLUICE_INLINE void DecodeScales(typename V::Int low, typename V::Int high, int first, Header256<V>* header) {
    const typename V::Int top = V::And(V::template ShiftRight<kShift>(high), V::Set1(0x03030303));
    const typename V::Int scales = V::AddBytes(V::Or(low, V::template ShiftLeft<4>(top)), V::Set1(-0x1f1f1f20));
    SetSignedScales<V, FormatQ3K>(scales, header->scales + first);
    SetSignedPairs<V>(scales, header->sum_pairs + first / 2);
  }
  template <class V>
  static SLUICE_INLINE void DecodeHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    // The last sixteen bytes: two of codes, twelve of scales, two of d.
    typename V::Int tail[4];
    V::Transpose16(bytes + 94, stride, tail);
    typename V::Int scales[3];
    for (int i = 0; i < 3; ++i) {
      scales[i] = V::Or(V::template ShiftRight<16>(tail[i]), V::template ShiftLeft<16>(tail[i + 1]));
    }
    header->unit = HighHalf<V>(tail[3]);
    DecodeScales<V, 0>(LowNibbles<V>(scales[0]), scales[2], 0, header);
    DecodeScales<V, 2>(LowNibbles<V>(scales[1]), scales[2], 4, header);
    DecodeScales<V, 4>(HighNibbles<V>(scales[0]), scales[2], 8, header);
    DecodeScales<V, 6>(HighNibbles<V>(scales[1]), scales[2], 12, header);
    V::Transpose32(bytes, stride, header->common);
  }
  template <class V, int kHalf>
  static SLUICE_INLINE void DecodePart(const uint8_t* bytes, size_t stride, const typename V::Int* mask,
                                       typename V::Int* codes) {
    typename V::Int raw[8];
    V::Transpose32(bytes + 32 + 32 * kHalf, stride, raw);
    TwoBitCodes<V>(raw, codes);
    AddHighBit<V, 4 * kHalf>(mask, codes);
    AddHighBit<V, 4 * kHalf + 1>(mask, codes + 8);
    AddHighBit<V, 4 * kHalf + 2>(mask, codes + 16);
    AddHighBit<V, 4 * kHalf + 3>(mask, codes + 24);
  }
};

// Sixteen bytes of nibbles that name entries of `table`: the low ones are elements 0
// to 15, the high ones 16 to 31. `added` is put on the entries.
template <class V>
SLUICE_INLINE void TableCodes(const uint8_t* bytes, size_t stride, const std::array<int8_t, 16>& table, int added,
                              typename V::Int* codes) {
  const typename V::Int entries = V::TableOf(reinterpret_cast<const int8_t*>(&table), static_cast<int8_t>(added));
  typename V::Int raw[4];
  V::Transpose16(bytes, stride, raw);
  SLUICE_UNROLL
  for (int k = 0; k < 4; ++k) {
    codes[k] = V::LookupLow(entries, raw[k]);
    codes[4 + k] = V::LookupHigh(entries, raw[k]);
  }
}

struct FormatIq4Xs : KQuantFormat {
  static constexpr int kBytes = 136;
  static constexpr int kMaxCode = 255;
  static constexpr bool kWide = true;
  static constexpr int kGroupDwords = 8;
  static constexpr int kParts = 4;

  // Four sub-blocks: nibbles in two bytes, two further bits each in one byte.
  template <class V>
  static SLUICE_INLINE void DecodeScales(typename V::Int nibbles, typename V::Int bits, int first,
                                         Header256<V>* header) {
    // Byte i of a lane takes nibble i and bits 2i and 2i + 1.
    const typename V::Int low = V::Merge(V::Set1(0x00ff00ff), V::template ShuffleBytes<0, 0, 1, 1>(nibbles),
                                         V::template ShiftRight<4>(V::template ShuffleBytes<0, 0, 1, 1>(nibbles)));
    const typename V::Int all = V::template ShuffleBytes<0, 0, 0, 0>(bits);
    typename V::Int high = V::And(all, V::Set1(0x03));
    high = V::Or(high, V::And(V::template ShiftRight<2>(all), V::Set1(0x0300)));
    high = V::Or(high, V::And(V::template ShiftRight<4>(all), V::Set1(0x030000)));
    high = V::Or(high, V::And(V::template ShiftRight<6>(all), V::Set1(0x03000000)));
    const typename V::Int scales =
        V::AddBytes(V::Or(LowNibbles<V>(low), V::template ShiftLeft<4>(high)), V::Set1(-0x1f1f1f20));
    SetSignedScales<V, FormatIq4Xs>(scales, header->scales + first);
    SetDoubledSignedPairs<V>(scales, header->sum_pairs + first);
  }
  template <class V>
  static SLUICE_INLINE void DecodeHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    const typename V::Int first = V::GatherDwords(bytes, stride);
    const typename V::Int nibbles = V::GatherDwords(bytes + 4, stride);
    header->unit = LowHalf<V>(first);
    DecodeScales<V>(nibbles, V::template ShiftRight<16>(first), 0, header);
    DecodeScales<V>(V::template ShiftRight<16>(nibbles), V::template ShiftRight<24>(first), 4, header);
  }
  template <class V, int kPart>
  static SLUICE_INLINE void DecodePart(const uint8_t* bytes, size_t stride, const typename V::Int*,
                                       typename V::Int* codes) {
    SLUICE_UNROLL
    for (int b = 0; b < 2; ++b) {
      TableCodes<V>(bytes + 8 + 32 * kPart + 16 * b, stride, kIq4NlValues, V::kWideBias, codes + 8 * b);
    }
  }
};

// Enters the products of the types with blocks of 256 and no code book: MatMul<F>::kRun for each format F.
// Their activation formats are those of the portable entries.
template <template <class> class MatMul>
void EnterKQuants(KernelSet* set) {
  const auto enter = [set](TensorType type, MatMulFn run) { set->kernels[static_cast<int>(type)].matmul = run; };
  enter(TensorType::kQ2K, MatMul<FormatQ2K>::kRun);
  enter(TensorType::kQ3K, MatMul<FormatQ3K>::kRun);
  enter(TensorType::kQ4K, MatMul<FormatQ4K>::kRun);
  enter(TensorType::kQ5K, MatMul<FormatQ5K>::kRun);
  enter(TensorType::kQ6K, MatMul<FormatQ6K>::kRun);
  enter(TensorType::kIQ4XS, MatMul<FormatIq4Xs>::kRun);
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_KQUANTS_H_
