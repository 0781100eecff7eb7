// Formats with blocks of 32 as panels; docs/formats.md, compute/simd_panel.h.
#ifndef SLUICE_COMPUTE_SIMD_BLOCKS32_H_
#define SLUICE_COMPUTE_SIMD_BLOCKS32_H_

#include <cstddef>
#include <cstdint>

#include "compute/codebooks.h"
#include "compute/kernel_set.h"
#include "compute/simd_kquants.h"
#include "compute/simd_panel.h"

namespace sluice {
namespace {

struct Block32Format {
  template <class V>
  using Panel = Panel32<V>;
  static constexpr int kOffset = 0;
  static constexpr bool kWide = false;
  static constexpr bool kMinimums = false;
  static constexpr bool kSideBySide = false;
};

// 16 bytes: low nibbles are elements 0 to 15, high nibbles 16 to 31.
template <class V>
SLUICE_INLINE void NibbleCodes(const uint8_t* bytes, size_t stride, typename V::Int* codes) {
  typename V::Int raw[4];
  V::Transpose16(bytes, stride, raw);
  SLUICE_UNROLL
  for (int k = 0; k < 4; ++k) {
    codes[k] = LowNibbles<V>(raw[k]);
    codes[4 + k] = HighNibbles<V>(raw[k]);
  }
}

// Bit i of each lane's mask becomes bit 4 of code i.
template <class V>
SLUICE_INLINE void AddFifthBits(typename V::Int mask, typename V::Int* codes) {
  const typename V::Int bit_of_byte = V::Set1(0x08040201);
  const typename V::Int fifth = V::Set1(0x10101010);
  const auto add = [&](typename V::Int nibble, typename V::Int* code) {
    *code = V::Or(*code, V::And(V::BytesEqual(V::And(nibble, bit_of_byte), bit_of_byte), fifth));
  };
  const typename V::Int high = V::And(V::template ShiftRight<4>(mask), V::Set1(0x0f0f0f0f));
  add(V::template ShuffleBytes<0, 0, 0, 0>(mask), codes);
  add(V::template ShuffleBytes<0, 0, 0, 0>(high), codes + 1);
  add(V::template ShuffleBytes<1, 1, 1, 1>(mask), codes + 2);
  add(V::template ShuffleBytes<1, 1, 1, 1>(high), codes + 3);
  add(V::template ShuffleBytes<2, 2, 2, 2>(mask), codes + 4);
  add(V::template ShuffleBytes<2, 2, 2, 2>(high), codes + 5);
  add(V::template ShuffleBytes<3, 3, 3, 3>(mask), codes + 6);
  add(V::template ShuffleBytes<3, 3, 3, 3>(high), codes + 7);
}

struct FormatQ8_0 : Block32Format {
  static constexpr int kBytes = 34;
  static constexpr int kMaxCode = 255;
  static constexpr bool kWide = true;

  template <class V>
  static SLUICE_INLINE void Decode(const uint8_t* bytes, size_t stride, typename V::Int* codes, typename V::Float* unit,
                                   typename V::Float*) {
    *unit = LowHalf<V>(V::GatherDwords(bytes, stride));
    V::Transpose32(bytes + 2, stride, codes);
    if constexpr (V::kWideBias != 0) {
      SLUICE_UNROLL
      for (int k = 0; k < 8; ++k) codes[k] = V::Xor(codes[k], V::Set1(static_cast<int32_t>(0x80808080u)));
    }
  }
};

struct FormatQ4_0 : Block32Format {
  static constexpr int kBytes = 18;
  static constexpr int kMaxCode = 15;
  static constexpr int kOffset = 8;

  template <class V>
  static SLUICE_INLINE void Decode(const uint8_t* bytes, size_t stride, typename V::Int* codes, typename V::Float* unit,
                                   typename V::Float*) {
    *unit = LowHalf<V>(V::GatherDwords(bytes, stride));
    NibbleCodes<V>(bytes + 2, stride, codes);
  }
};

struct FormatQ4_1 : Block32Format {
  static constexpr int kBytes = 20;
  static constexpr int kMaxCode = 15;
  static constexpr bool kMinimums = true;

  template <class V>
  static SLUICE_INLINE void Decode(const uint8_t* bytes, size_t stride, typename V::Int* codes, typename V::Float* unit,
                                   typename V::Float* min_unit) {
    const typename V::Int units = V::GatherDwords(bytes, stride);
    *unit = LowHalf<V>(units);
    *min_unit = HighHalf<V>(units);
    NibbleCodes<V>(bytes + 4, stride, codes);
  }
};

struct FormatQ5_0 : Block32Format {
  static constexpr int kBytes = 22;
  static constexpr int kMaxCode = 31;
  static constexpr int kOffset = 16;

  template <class V>
  static SLUICE_INLINE void Decode(const uint8_t* bytes, size_t stride, typename V::Int* codes, typename V::Float* unit,
                                   typename V::Float*) {
    *unit = LowHalf<V>(V::GatherDwords(bytes, stride));
    NibbleCodes<V>(bytes + 6, stride, codes);
    AddFifthBits<V>(V::GatherDwords(bytes + 2, stride), codes);
  }
};

struct FormatQ5_1 : Block32Format {
  static constexpr int kBytes = 24;
  static constexpr int kMaxCode = 31;
  static constexpr bool kMinimums = true;

  template <class V>
  static SLUICE_INLINE void Decode(const uint8_t* bytes, size_t stride, typename V::Int* codes, typename V::Float* unit,
                                   typename V::Float* min_unit) {
    const typename V::Int units = V::GatherDwords(bytes, stride);
    *unit = LowHalf<V>(units);
    *min_unit = HighHalf<V>(units);
    NibbleCodes<V>(bytes + 8, stride, codes);
    AddFifthBits<V>(V::GatherDwords(bytes + 4, stride), codes);
  }
};

struct FormatIq4Nl : Block32Format {
  static constexpr int kBytes = 18;
  static constexpr int kMaxCode = 255;
  static constexpr bool kWide = true;

  template <class V>
  static SLUICE_INLINE void Decode(const uint8_t* bytes, size_t stride, typename V::Int* codes, typename V::Float* unit,
                                   typename V::Float*) {
    *unit = LowHalf<V>(V::GatherDwords(bytes, stride));
    TableCodes<V>(bytes + 2, stride, kIq4NlValues, V::kWideBias, codes);
  }
};

// Values from -12 to 12; units are 2^(e - 128), subnormal for e of 0 and 1.
struct FormatMxfp4 : Block32Format {
  static constexpr int kBytes = 17;
  static constexpr int kMaxCode = 24;
  static constexpr int kOffset = 12;

  template <class V>
  static SLUICE_INLINE void Decode(const uint8_t* bytes, size_t stride, typename V::Int* codes, typename V::Float* unit,
                                   typename V::Float*) {
    const typename V::Int exponent = V::And(V::GatherDwords(bytes, stride), V::Set1(0xff));
    const typename V::Int normal = V::template ShiftLeft<23>(V::Sub(exponent, V::Set1(1)));
    const typename V::Int subnormal = V::template ShiftLeft<21>(V::Add(exponent, V::Set1(1)));
    *unit = V::BitsToFloat(V::Max(normal, subnormal));  // negative and 0 where the other one is meant
    TableCodes<V>(bytes + 1, stride, kMxfp4Values, kOffset, codes);
  }
};

// Enters the products of the types with blocks of 32: MatMul<F>::kRun for each format F.
template <template <class> class MatMul>
void EnterBlocks32(KernelSet* set) {
  const auto enter = [set](TensorType type, MatMulFn run) {
    set->kernels[static_cast<int>(type)] = {ActivationFormat::kQ8Block32, run};
  };
  enter(TensorType::kQ4_0, MatMul<FormatQ4_0>::kRun);
  enter(TensorType::kQ4_1, MatMul<FormatQ4_1>::kRun);
  enter(TensorType::kQ5_0, MatMul<FormatQ5_0>::kRun);
  enter(TensorType::kQ5_1, MatMul<FormatQ5_1>::kRun);
  enter(TensorType::kQ8_0, MatMul<FormatQ8_0>::kRun);
  enter(TensorType::kIQ4NL, MatMul<FormatIq4Nl>::kRun);
  enter(TensorType::kMXFP4, MatMul<FormatMxfp4>::kRun);
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_BLOCKS32_H_
