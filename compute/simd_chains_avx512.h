// Sixteen float lanes, the chains of the canonical sums, in one register.
//
// The vocabulary of compute/simd_floats.h for files compiled with AVX-512;
// linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_CHAINS_AVX512_H_
#define SLUICE_COMPUTE_SIMD_CHAINS_AVX512_H_

#include <immintrin.h>

#include <cstdint>

#include "compute/simd_common.h"

namespace sluice {
namespace {

struct Avx512Chains {
  using Value = __m512;
  using Mask = __mmask16;
  using Part = __m512;  // a register; kParts of them are a Value
  static constexpr int kParts = 1;
  static constexpr int kOutputsOfOneRow = 8;  // of a tile of the float products
  static constexpr int kTileOutputs = 4;
  static constexpr int kTileRows = 4;

  static Value Zero() { return _mm512_setzero_ps(); }
  static Value Set1(float value) { return _mm512_set1_ps(value); }
  static Value Load(const float* from) { return _mm512_loadu_ps(from); }
  static void Store(float* to, Value a) { _mm512_storeu_ps(to, a); }
  static Value LoadF16(const uint16_t* from) { return _mm512_cvtph_ps(LoadWords(from)); }
  static Value SetF16(uint16_t half) { return _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<int16_t>(half))); }
  // Sixteen signed bytes.
  static Value LoadBytes(const void* from) {
    const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(from));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  }
  static void StoreF16(uint16_t* to, Value a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }

  static Value Add(Value a, Value b) { return _mm512_add_ps(a, b); }
  static Value Sub(Value a, Value b) { return _mm512_sub_ps(a, b); }
  static Value Mul(Value a, Value b) { return _mm512_mul_ps(a, b); }
  static Value Div(Value a, Value b) { return _mm512_div_ps(a, b); }
  static Value Negate(Value a) {
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32(kSignBit)));
  }
  static Value Fma(Value a, Value b, Value c) { return _mm512_fmadd_ps(a, b, c); }
  // c - a * b, rounded once.
  static Value NegatedFma(Value a, Value b, Value c) { return _mm512_fnmadd_ps(a, b, c); }
  // p with the low bits of t added to its exponent.
  static Value AddToExponent(Value p, Value t) {
    const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), shifted));
  }
  static Mask Less(Value a, Value b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static Mask IsNan(Value a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
  static Value Select(Mask mask, Value a, Value b) { return _mm512_mask_blend_ps(mask, b, a); }

  static Part ZeroPart() { return Zero(); }
  static Part LoadPart(const void* from) { return _mm512_loadu_ps(from); }
  static Part LoadF16Part(const void* from) { return _mm512_cvtph_ps(LoadWords(from)); }
  static Part LoadBf16Part(const void* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(LoadWords(from)), 16));
  }
  static Part FmaPart(Part a, Part b, Part c) { return Fma(a, b, c); }
  static float SumParts(const Part parts[1]) { return Sum(parts[0]); }

  // SumLanes of compute/ops.h.
  static float Sum(Value a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  // The larger bits of magnitudes, as integers: a NaN cannot hide.
  static Value LargerMagnitude(Value magnitudes, Value a) {
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff));
    return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(magnitudes), bits));
  }
  static uint32_t LargestBits(Value magnitudes) { return _mm512_reduce_max_epu32(_mm512_castps_si512(magnitudes)); }
  // Sixteen codes, the low bytes of a; their sum, a being integers + kRoundMagic.
  static int32_t StoreCodes(Value a, int8_t* to) {
    const __m512i codes = _mm512_sub_epi32(_mm512_castps_si512(a), _mm512_castps_si512(Set1(kRoundMagic)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(codes));
    return _mm512_reduce_add_epi32(codes);
  }

 private:
  static __m256i LoadWords(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CHAINS_AVX512_H_
