// The vector operations, on sixteen chains.
//
// C is the vocabulary of an instruction set (Avx512Chains, Avx2Chains). Ragged
// ends go through a zero-filled copy of sixteen, which is what the canonical
// order asks for: "as if padded with zeros". Linkage as in simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_FLOATS_H_
#define SLUICE_COMPUTE_SIMD_FLOATS_H_

#include <cstdint>
#include <cstring>

#include "compute/activations.h"
#include "compute/exp_poly.h"
#include "compute/kernel_set.h"
#include "compute/simd_common.h"
#include "compute/simd_float_products.h"

namespace sluice {
namespace {

template <class C>
SLUICE_INLINE typename C::Value LoadFirst(const float* from, int64_t count) {
  float sixteen[kChains] = {};
  std::memcpy(sixteen, from, static_cast<size_t>(count) * sizeof(float));
  return C::Load(sixteen);
}
template <class C>
SLUICE_INLINE void StoreFirst(float* to, int64_t count, typename C::Value a) {
  float sixteen[kChains];
  C::Store(sixteen, a);
  std::memcpy(to, sixteen, static_cast<size_t>(count) * sizeof(float));
}

// compute/exp_poly.h, lane by lane.
template <class C>
SLUICE_INLINE typename C::Value Exp(typename C::Value x) {
  using Value = typename C::Value;
  const Value magic = C::Set1(kExpMagic);
  const Value t = C::Fma(x, C::Set1(kExpLog2E), magic);
  const Value n = C::Sub(t, magic);
  Value r = C::NegatedFma(n, C::Set1(kExpLn2Hi), x);
  r = C::NegatedFma(n, C::Set1(kExpLn2Lo), r);
  Value p = C::Fma(C::Set1(kExpC6), r, C::Set1(kExpC5));
  p = C::Fma(p, r, C::Set1(kExpC4));
  p = C::Fma(p, r, C::Set1(kExpC3));
  p = C::Fma(p, r, C::Set1(kExpC2));
  p = C::Fma(p, r, C::Set1(kExpC1));
  p = C::Fma(p, r, C::Set1(kExpC0));
  Value y = C::AddToExponent(p, t);
  y = C::Select(C::Less(x, C::Set1(kExpMin)), C::Zero(), y);
  y = C::Select(C::Less(C::Set1(kExpMax), x), C::Set1(__builtin_inff()), y);
  return C::Select(C::IsNan(x), x, y);
}

template <class C>
void DotLanes(const float* a, const float* b, int64_t n, float lanes[16]) {
  typename C::Value sum = C::Load(lanes);
  int64_t i = 0;
  for (; i + kChains <= n; i += kChains) sum = C::Fma(C::Load(a + i), C::Load(b + i), sum);
  if (i < n) sum = C::Fma(LoadFirst<C>(a + i, n - i), LoadFirst<C>(b + i, n - i), sum);
  C::Store(lanes, sum);
}

template <class C>
float Dot(const float* a, const float* b, int64_t n) {
  float lanes[kChains] = {};
  DotLanes<C>(a, b, n, lanes);
  return C::Sum(C::Load(lanes));
}

template <class C>
void Axpy(float scale, const float* x, float* y, int64_t n) {
  const typename C::Value factor = C::Set1(scale);
  int64_t i = 0;
  for (; i + kChains <= n; i += kChains) C::Store(y + i, C::Fma(factor, C::Load(x + i), C::Load(y + i)));
  if (i == n) return;
  StoreFirst<C>(y + i, n - i, C::Fma(factor, LoadFirst<C>(x + i, n - i), LoadFirst<C>(y + i, n - i)));
}

template <class C>
SLUICE_INLINE typename C::Value LoadF16At(const uint8_t* from) {
  return C::LoadF16(reinterpret_cast<const uint16_t*>(from));
}

template <class C>
void WidenF16(const WidenRowsArgs& args) {
  const uint8_t* in = args.in;
  float* out = args.out;
  for (int64_t r = 0; r < args.rows; ++r, in += args.stride_bytes, out += args.columns) {
    int64_t i = 0;
    for (; i + kChains <= args.columns; i += kChains) C::Store(out + i, LoadF16At<C>(in + 2 * i));
    if (i == args.columns) continue;
    uint8_t sixteen[2 * kChains] = {};
    std::memcpy(sixteen, in + 2 * i, static_cast<size_t>(args.columns - i) * 2);
    StoreFirst<C>(out + i, args.columns - i, LoadF16At<C>(sixteen));
  }
}

// Codes of one scale, as many as `count` says or a whole block.
template <class C>
SLUICE_INLINE void WidenQ8Block(const uint8_t* block, int64_t count, float* out) {
  uint16_t half;
  std::memcpy(&half, block, sizeof half);
  const typename C::Value scale = C::SetF16(half);
  const uint8_t* codes = block + sizeof half;
  if (count >= 2 * kChains) {
    C::Store(out, C::Mul(scale, C::LoadBytes(codes)));
    C::Store(out + kChains, C::Mul(scale, C::LoadBytes(codes + kChains)));
    return;
  }
  uint8_t rest[2 * kChains] = {};
  std::memcpy(rest, codes, static_cast<size_t>(count));
  const int64_t first = count < kChains ? count : kChains;
  StoreFirst<C>(out, first, C::Mul(scale, C::LoadBytes(rest)));
  StoreFirst<C>(out + first, count - first, C::Mul(scale, C::LoadBytes(rest + kChains)));
}

template <class C>
void WidenQ8(const WidenRowsArgs& args) {
  constexpr int64_t kBlock = 2 * kChains, kBlockBytes = kBlock + 2;
  const uint8_t* in = args.in;
  float* out = args.out;
  for (int64_t r = 0; r < args.rows; ++r, in += args.stride_bytes, out += args.columns) {
    for (int64_t i = 0; i < args.columns; i += kBlock) {
      WidenQ8Block<C>(in + i / kBlock * kBlockBytes, args.columns - i, out + i);
    }
  }
}

template <class C>
void F32ToF16(const float* in, uint16_t* out, int64_t n) {
  int64_t i = 0;
  for (; i + kChains <= n; i += kChains) C::StoreF16(out + i, C::Load(in + i));
  if (i == n) return;
  uint16_t sixteen[kChains];
  C::StoreF16(sixteen, LoadFirst<C>(in + i, n - i));
  std::memcpy(out + i, sixteen, static_cast<size_t>(n - i) * sizeof(uint16_t));
}

template <class C>
SLUICE_INLINE typename C::Value GatedUp(typename C::Value gate, typename C::Value up) {
  const typename C::Value denominator = C::Add(C::Set1(1.0f), Exp<C>(C::Negate(gate)));
  return C::Mul(C::Div(gate, denominator), up);
}

template <class C>
void Swiglu(const float* gate, const float* up, float* out, int64_t n) {
  int64_t i = 0;
  for (; i + kChains <= n; i += kChains) C::Store(out + i, GatedUp<C>(C::Load(gate + i), C::Load(up + i)));
  if (i == n) return;
  StoreFirst<C>(out + i, n - i, GatedUp<C>(LoadFirst<C>(gate + i, n - i), LoadFirst<C>(up + i, n - i)));
}

template <class C>
float ExpSum(float* x, int64_t n, float max) {
  const typename C::Value shift = C::Set1(max);
  typename C::Value sum = C::Zero();
  int64_t i = 0;
  for (; i + kChains <= n; i += kChains) {
    const typename C::Value y = Exp<C>(C::Sub(C::Load(x + i), shift));
    C::Store(x + i, y);
    sum = C::Add(sum, y);
  }
  if (i < n) {
    StoreFirst<C>(x + i, n - i, Exp<C>(C::Sub(LoadFirst<C>(x + i, n - i), shift)));
    sum = C::Add(sum, LoadFirst<C>(x + i, n - i));
  }
  return C::Sum(sum);
}

// What compute/activations.cc calls the scale of a block and its inverse;
// `inverse` is 0 for a block that becomes all zero codes.
struct BlockScale {
  float scale;
  float inverse;
};

constexpr uint32_t kInfinityBits = 0x7f800000;
SLUICE_INLINE float FloatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class C, int kElements>
SLUICE_INLINE uint32_t LargestBitsOf(const float* x) {
  typename C::Value magnitudes = C::Zero();
  for (int i = 0; i < kElements; i += kChains) magnitudes = C::LargerMagnitude(magnitudes, C::Load(x + i));
  return C::LargestBits(magnitudes);
}

// Of a block whose largest code is `steps`.
SLUICE_INLINE BlockScale ScaleOf(uint32_t largest_bits, float steps) {
  if (largest_bits >= kInfinityBits) return {__builtin_nanf(""), 0.0f};
  const float largest = FloatOf(largest_bits);
  if (largest < 0x1p-100f) return {0.0f, 0.0f};
  return {largest / steps, steps / largest};
}

// Sixteen codes and their sum.
template <class C>
SLUICE_INLINE int32_t QuantizeSixteen(const float* x, float inverse, int8_t* codes) {
  if (inverse == 0.0f) {
    std::memset(codes, 0, kChains);
    return 0;
  }
  return C::StoreCodes(C::Add(C::Mul(C::Load(x), C::Set1(inverse)), C::Set1(kRoundMagic)), codes);
}

template <class C>
void Quantize32(const float* x, int64_t elements, void* out) {
  Q8Block32x8* packs = static_cast<Q8Block32x8*>(out);
  const int64_t blocks = elements / 32;
  if (blocks % 8 != 0) std::memset(&packs[blocks / 8], 0, sizeof(Q8Block32x8));
  for (int64_t b = 0; b < blocks; ++b) {
    Q8Block32x8& pack = packs[b / 8];
    const BlockScale scale = ScaleOf(LargestBitsOf<C, 32>(x + 32 * b), 127.0f);
    pack.scales[b % 8] = scale.scale;
    int8_t* codes = pack.values[b % 8];
    const int32_t first = QuantizeSixteen<C>(x + 32 * b, scale.inverse, codes);
    pack.sums[b % 8] = first + QuantizeSixteen<C>(x + 32 * b + 16, scale.inverse, codes + 16);
  }
}

// Codes 32 * g on, their sums, and their factor.
template <class C>
SLUICE_INLINE void QuantizeGroup(const float* x, int g, float inverse, int factor, Q8Block256* block) {
  block->factors[g] = static_cast<int8_t>(factor);
  for (int i = 2 * g; i < 2 * g + 2; ++i) {
    const int32_t sum = QuantizeSixteen<C>(x + 16 * i, inverse, block->values + 16 * i);
    block->group_sums[i] = static_cast<int16_t>(factor * sum);
  }
}

template <class C>
void Quantize256(const float* x, int64_t elements, void* out) {
  Q8Block256* block = static_cast<Q8Block256*>(out);
  for (int64_t i = 0; i < elements; i += 256, ++block) {
    const BlockScale scale = ScaleOf(LargestBitsOf<C, 256>(x + i), 127.0f);
    block->scale = scale.scale;
    std::memset(block->padding, 0, sizeof block->padding);
    for (int g = 0; g < 8; ++g) QuantizeGroup<C>(x + i, g, scale.inverse, 1, block);
    SetMagnitudes(block);
  }
}

template <class C>
void QuantizeGroups256(const float* x, int64_t elements, void* out) {
  Q8Block256* block = static_cast<Q8Block256*>(out);
  for (int64_t i = 0; i < elements; i += 256, ++block) {
    uint32_t bits[8], largest_bits = 0;
    for (int g = 0; g < 8; ++g) {
      bits[g] = LargestBitsOf<C, 32>(x + i + 32 * g);
      largest_bits = bits[g] > largest_bits ? bits[g] : largest_bits;
    }
    const BlockScale scale = ScaleOf(largest_bits, kFactorSteps[0]);
    const float largest = FloatOf(largest_bits);
    block->scale = scale.scale;
    std::memset(block->padding, 0, sizeof block->padding);
    for (int g = 0; g < 8; ++g) {
      const float own = FloatOf(bits[g]);
      const int above =
          scale.inverse == 0.0f ? 0 : (own > largest * 0.25f) + (own > largest * 0.5f) + (own > largest * 0.75f);
      QuantizeGroup<C>(x + i, g, scale.inverse == 0.0f ? 0.0f : kFactorSteps[above] / largest, 1 + above, block);
    }
    SetMagnitudes(block);
  }
}

template <class C>
void FillFloatProducts(KernelSet* set) {
  set->kernels[static_cast<int>(TensorType::kF32)] = {ActivationFormat::kF32, FloatMatMul<C, WeightsF32>};
  set->kernels[static_cast<int>(TensorType::kF16)] = {ActivationFormat::kF32, FloatMatMul<C, WeightsF16>};
  set->kernels[static_cast<int>(TensorType::kBF16)] = {ActivationFormat::kF32, FloatMatMul<C, WeightsBf16>};
}

template <class C>
void FillVectorOps(KernelSet* set) {
  set->ops = {Dot<C>, DotLanes<C>, Axpy<C>, WidenF16<C>, WidenQ8<C>, F32ToF16<C>, Swiglu<C>, ExpSum<C>};
  set->quantize[static_cast<int>(ActivationFormat::kQ8Block32)] = Quantize32<C>;
  set->quantize[static_cast<int>(ActivationFormat::kQ8Block256)] = Quantize256<C>;
  set->quantize[static_cast<int>(ActivationFormat::kQ8Groups256)] = QuantizeGroups256<C>;
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_FLOATS_H_
