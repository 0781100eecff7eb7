// Code-book types as panels; docs/formats.md, compute/simd_panel.h.
//
// Look-ups go lane by lane (AVX2 and NEON; AVX-512 has compute/simd_codebooks_avx512.h, and few rows have
// compute/simd_codebook_rows.h on AVX2): each output's codes are written out in order, signs applied and offset added,
// and then transposed like any block of bytes.
#ifndef SLUICE_COMPUTE_SIMD_CODEBOOKS_H_
#define SLUICE_COMPUTE_SIMD_CODEBOOKS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "compute/codebooks.h"
#include "compute/kernel_set.h"
#include "compute/simd_kquants.h"
#include "compute/simd_panel.h"

namespace sluice {
namespace {

SLUICE_INLINE uint32_t WordAt(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}
SLUICE_INLINE uint32_t DwordAt(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}
// Entry of a grid or table; the members of std::array would be weak symbols.
template <class T, class Table>
SLUICE_INLINE T EntryOf(const Table& table, uint32_t index) {
  return reinterpret_cast<const T*>(&table)[index];
}
// Sign bytes of four groups from 7-bit numbers.
SLUICE_INLINE uint32_t SignByte(uint32_t number) { return EntryOf<uint8_t>(kSigns7Bit, number & 127); }
SLUICE_INLINE uint32_t SignsOf(uint32_t word) {
  return SignByte(word) | SignByte(word >> 7) << 8 | SignByte(word >> 14) << 16 | SignByte(word >> 21) << 24;
}
SLUICE_INLINE uint64_t QuadPair(uint32_t low, uint32_t high) { return low | static_cast<uint64_t>(high) << 32; }
SLUICE_INLINE uint8_t OddScale(uint32_t scale) { return static_cast<uint8_t>(2 * scale + 1); }

// What the rows below have in common. A row names kBytes, kGroupDwords, the
// largest magnitude of a code, the power of two in its unit; it writes one
// output's scale bytes, and the grid entries of a sub-block of 32 codes with a
// bit for each that is negative (kDelta: whose delta is).
struct RowIq2 {
  static constexpr bool kDelta = false;
  static constexpr int kMagnitude = 43;
  static constexpr float kUnitFactor = 0.125f;
};
struct RowIq1 {
  static constexpr bool kDelta = true;
  static constexpr int kMagnitude = 9;
  static constexpr float kUnitFactor = 0.125f;
};

struct RowIq2Xxs : RowIq2 {
  static constexpr int kBytes = 66;
  static constexpr int kGroupDwords = 8;

  static SLUICE_INLINE void Scales(const uint8_t* block, uint8_t* scales) {
    for (int b = 0; b < 8; ++b) scales[b] = OddScale(block[9 + 8 * b] >> 4);
  }
  static SLUICE_INLINE uint32_t SubBlock(const uint8_t* block, int b, uint64_t* groups) {
    const uint8_t* indices = block + 2 + 8 * b;
    for (int l = 0; l < 4; ++l) groups[l] = EntryOf<uint64_t>(kIq2XxsGrid, indices[l]);
    return SignsOf(DwordAt(indices + 4));
  }
};

struct RowIq2Xs : RowIq2 {
  static constexpr int kBytes = 74;
  static constexpr int kGroupDwords = 4;

  static SLUICE_INLINE void Scales(const uint8_t* block, uint8_t* scales) {
    for (int b = 0; b < 8; ++b) {
      scales[2 * b] = OddScale(block[66 + b] & 15);
      scales[2 * b + 1] = OddScale(block[66 + b] >> 4);
    }
  }
  static SLUICE_INLINE uint32_t SubBlock(const uint8_t* block, int b, uint64_t* groups) {
    uint32_t signs = 0;
    for (int l = 0; l < 4; ++l) {
      const uint32_t v = WordAt(block + 2 + 8 * b + 2 * l);
      groups[l] = EntryOf<uint64_t>(kIq2XsGrid, v & 511);
      signs |= SignByte(v >> 9) << (8 * l);
    }
    return signs;
  }
};

struct RowIq2S : RowIq2 {
  static constexpr int kBytes = 82;
  static constexpr int kGroupDwords = 4;

  static SLUICE_INLINE void Scales(const uint8_t* block, uint8_t* scales) { RowIq2Xs::Scales(block + 8, scales); }
  static SLUICE_INLINE uint32_t SubBlock(const uint8_t* block, int b, uint64_t* groups) {
    const uint32_t high = block[66 + b];
    for (int l = 0; l < 4; ++l) {
      groups[l] = EntryOf<uint64_t>(kIq2SGrid, block[2 + 4 * b + l] | ((high >> (2 * l)) & 3) << 8);
    }
    return DwordAt(block + 34 + 4 * b);
  }
};

struct RowIq3Xxs {
  static constexpr int kBytes = 98;
  static constexpr int kGroupDwords = 8;
  static constexpr bool kDelta = false;
  static constexpr int kMagnitude = 62;
  static constexpr float kUnitFactor = 0.25f;

  static SLUICE_INLINE void Scales(const uint8_t* block, uint8_t* scales) {
    for (int b = 0; b < 8; ++b) scales[b] = OddScale(block[69 + 4 * b] >> 4);
  }
  static SLUICE_INLINE uint32_t SubBlock(const uint8_t* block, int b, uint64_t* groups) {
    const uint8_t* indices = block + 2 + 8 * b;
    for (int l = 0; l < 4; ++l) {
      groups[l] =
          QuadPair(EntryOf<uint32_t>(kIq3XxsGrid, indices[2 * l]), EntryOf<uint32_t>(kIq3XxsGrid, indices[2 * l + 1]));
    }
    return SignsOf(DwordAt(block + 66 + 4 * b));
  }
};

struct RowIq3S {
  static constexpr int kBytes = 110;
  static constexpr int kGroupDwords = 8;
  static constexpr bool kDelta = false;
  static constexpr int kMagnitude = 15;
  static constexpr float kUnitFactor = 1.0f;

  static SLUICE_INLINE void Scales(const uint8_t* block, uint8_t* scales) {
    for (int b = 0; b < 8; b += 2) {
      scales[b] = OddScale(block[106 + b / 2] & 15);
      scales[b + 1] = OddScale(block[106 + b / 2] >> 4);
    }
  }
  static SLUICE_INLINE uint32_t SubBlock(const uint8_t* block, int b, uint64_t* groups) {
    const uint8_t* low = block + 2 + 8 * b;
    const uint32_t high = block[66 + b];
    const auto quad = [&](int k) { return EntryOf<uint32_t>(kIq3SGrid, low[k] | ((high >> k) & 1) << 8); };
    for (int l = 0; l < 4; ++l) groups[l] = QuadPair(quad(2 * l), quad(2 * l + 1));
    return DwordAt(block + 74 + 4 * b);
  }
};

struct RowIq1S : RowIq1 {
  static constexpr int kBytes = 50;
  static constexpr int kGroupDwords = 8;

  static SLUICE_INLINE void Scales(const uint8_t* block, uint8_t* scales) {
    for (int b = 0; b < 8; ++b) scales[b] = OddScale((block[35 + 2 * b] >> 4) & 7);
  }
  static SLUICE_INLINE uint32_t SubBlock(const uint8_t* block, int b, uint64_t* groups) {
    const uint32_t high = WordAt(block + 34 + 2 * b);
    for (int l = 0; l < 4; ++l) {
      groups[l] = EntryOf<uint64_t>(kIq1Grid, block[2 + 4 * b + l] | ((high >> (3 * l)) & 7) << 8);
    }
    return 0 - (high >> 15);
  }
};

struct RowIq1M : RowIq1 {
  static constexpr int kBytes = 56;
  static constexpr int kGroupDwords = 4;

  static SLUICE_INLINE void Scales(const uint8_t* block, uint8_t* scales) {
    for (int t = 0; t < 16; ++t) scales[t] = OddScale((WordAt(block + 48 + 2 * (t / 4)) >> (3 * (t % 4))) & 7);
  }
  static SLUICE_INLINE uint32_t SubBlock(const uint8_t* block, int b, uint64_t* groups) {
    const uint32_t nibbles = WordAt(block + 32 + 2 * b);
    uint32_t negative = 0;
    for (int l = 0; l < 4; ++l) {
      const uint32_t nibble = nibbles >> (4 * l);
      groups[l] = EntryOf<uint64_t>(kIq1Grid, block[4 * b + l] | (nibble & 7) << 8);
      negative |= ((nibble >> 3) & 1) * 0xffu << (8 * l);
    }
    return negative;
  }
};

// Seven sign bits in each byte; the eighth makes their number even.
template <class V>
SLUICE_INLINE typename V::Int WithEighthSign(typename V::Int sevens) {
  alignas(16) static constexpr int8_t kParity[16] = {0,    -128, -128, 0,    -128, 0,    0,    -128,
                                                     -128, 0,    0,    -128, 0,    -128, -128, 0};
  const typename V::Int folded = V::Xor(sevens, V::template ShiftRight<4>(sevens));
  return V::Or(sevens, V::LookupLow(V::TableOf(kParity, 0), folded));
}
// The low 28 bits of each lane, as four sign bytes.
template <class V>
SLUICE_INLINE typename V::Int SignsOfSevens(typename V::Int words) {
  typename V::Int spread = V::Merge(V::Set1(0x7f), words, V::template ShiftLeft<1>(words));
  spread = V::Merge(V::Set1(0x7fff), spread, V::template ShiftLeft<2>(words));
  spread = V::Merge(V::Set1(0x7fffff), spread, V::template ShiftLeft<3>(words));
  return WithEighthSign<V>(V::And(spread, V::Set1(0x7f7f7f7f)));
}

// The float16 in the top nibbles of four words.
template <class V>
SLUICE_INLINE typename V::Int TopNibbles(typename V::Int low, typename V::Int high) {
  typename V::Int bits = V::And(V::template ShiftRight<12>(low), V::Set1(0x000f));
  bits = V::Or(bits, V::And(V::template ShiftRight<24>(low), V::Set1(0x00f0)));
  bits = V::Or(bits, V::And(V::template ShiftRight<4>(high), V::Set1(0x0f00)));
  return V::Or(bits, V::And(V::template ShiftRight<16>(high), V::Set1(0xf000)));
}

template <class V, class Row>
SLUICE_INLINE typename V::Int UnitBits(const uint8_t* bytes, size_t stride) {
  if constexpr (Row::kBytes != RowIq1M::kBytes) return V::GatherDwords(bytes, stride);
  return TopNibbles<V>(V::GatherDwords(bytes + 48, stride), V::GatherDwords(bytes + 52, stride));
}

template <class Row>
struct CodebookFormat : KQuantFormat {
  using OfRow = Row;
  static constexpr int kBytes = Row::kBytes;
  static constexpr int kOffset = Row::kMagnitude;
  static constexpr int kMaxCode = 2 * Row::kMagnitude;
  static constexpr int kGroupDwords = Row::kGroupDwords;
  static constexpr int kParts = 1;

  template <class V>
  static SLUICE_INLINE void DecodeHeader(const uint8_t* bytes, size_t stride, Header256<V>* header) {
    uint8_t rows[V::kLanes][16];
    for (int lane = 0; lane < V::kLanes; ++lane) Row::Scales(bytes + lane * stride, rows[lane]);
    typename V::Int scales[4];
    V::Transpose16(rows[0], 16, scales);
    for (int i = 0; i < 16 / kGroupDwords; ++i) {
      SetScales<V, CodebookFormat>(scales[i], header->scales + 4 * i);
      if constexpr (kGroupDwords == 4) SetPairs<V>(scales[i], header->sum_pairs + 2 * i);
      if constexpr (kGroupDwords == 8) SetDoubledPairs<V>(scales[i], header->sum_pairs + 4 * i);
    }
    header->unit = V::MulFloat(LowHalf<V>(UnitBits<V, Row>(bytes, stride)), V::SetFloat(Row::kUnitFactor));
  }
  template <class V, int>
  static SLUICE_INLINE void DecodePart(const uint8_t* bytes, size_t stride, const typename V::Int*,
                                       typename V::Int* codes) {
    uint8_t rows[V::kLanes][256];
    for (int lane = 0; lane < V::kLanes; ++lane) {
      for (int b = 0; b < 8; ++b) {
        uint64_t groups[4];
        const uint32_t signs = Row::SubBlock(bytes + lane * stride, b, groups);
        if constexpr (Row::kDelta) {
          V::StoreWithDelta(groups, signs, rows[lane] + 32 * b);
        } else {
          V::template StoreSigned<kOffset>(groups, signs, rows[lane] + 32 * b);
        }
      }
    }
    for (int b = 0; b < 8; ++b) V::Transpose32(rows[0] + 32 * b, 256, codes + 8 * b);
  }
};

// Enters the products of the types with code books: MatMul<F>::kRun for each format F.
template <template <class> class MatMul>
void EnterCodebooks(KernelSet* set) {
  const auto enter = [set](TensorType type, MatMulFn run) {
    set->kernels[static_cast<int>(type)] = {ActivationFormat::kQ8Block256, run};
  };
  enter(TensorType::kIQ2XXS, MatMul<CodebookFormat<RowIq2Xxs>>::kRun);
  enter(TensorType::kIQ2XS, MatMul<CodebookFormat<RowIq2Xs>>::kRun);
  enter(TensorType::kIQ2S, MatMul<CodebookFormat<RowIq2S>>::kRun);
  enter(TensorType::kIQ3XXS, MatMul<CodebookFormat<RowIq3Xxs>>::kRun);
  enter(TensorType::kIQ3S, MatMul<CodebookFormat<RowIq3S>>::kRun);
  enter(TensorType::kIQ1S, MatMul<CodebookFormat<RowIq1S>>::kRun);
  enter(TensorType::kIQ1M, MatMul<CodebookFormat<RowIq1M>>::kRun);
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CODEBOOKS_H_
