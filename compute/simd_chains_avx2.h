// Sixteen float lanes, the chains of the canonical sums, in two registers.
//
// The vocabulary of compute/simd_floats.h for files compiled with AVX2, FMA
// and F16C; the members are those of Avx512Chains. Linkage as in
// compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_CHAINS_AVX2_H_
#define SLUICE_COMPUTE_SIMD_CHAINS_AVX2_H_

#include <immintrin.h>

#include <cstdint>

#include "compute/simd_common.h"

namespace sluice {
namespace {

struct Avx2Chains {
  struct Value {
    __m256 low;   // chains 0 to 7
    __m256 high;  // chains 8 to 15
  };
  using Mask = Value;
  using Part = __m256;
  static constexpr int kParts = 2;
  static constexpr int kOutputsOfOneRow = 1;
  static constexpr int kTileOutputs = 2;
  static constexpr int kTileRows = 2;

  static Value Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Value Set1(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static Value Load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static void Store(float* to, Value a) {
    _mm256_storeu_ps(to, a.low);
    _mm256_storeu_ps(to + 8, a.high);
  }
  static Value LoadF16(const uint16_t* from) {
    return {_mm256_cvtph_ps(LoadWords(from)), _mm256_cvtph_ps(LoadWords(from + 8))};
  }
  static Value SetF16(uint16_t half) {
    const __m256 eight = _mm256_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(half)));
    return {eight, eight};
  }
  static Value LoadBytes(const void* from) {
    const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(from));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  static void StoreF16(uint16_t* to, Value a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT));
  }

  static Value Add(Value a, Value b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static Value Sub(Value a, Value b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  static Value Mul(Value a, Value b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static Value Div(Value a, Value b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  static Value Negate(Value a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_xor_ps(a.low, sign), _mm256_xor_ps(a.high, sign)};
  }
  static Value Fma(Value a, Value b, Value c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static Value NegatedFma(Value a, Value b, Value c) {
    return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
  }
  static Value AddToExponent(Value p, Value t) { return {AddToExponent(p.low, t.low), AddToExponent(p.high, t.high)}; }
  static Mask Less(Value a, Value b) {
    return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
  }
  static Mask IsNan(Value a) {
    return {_mm256_cmp_ps(a.low, a.low, _CMP_UNORD_Q), _mm256_cmp_ps(a.high, a.high, _CMP_UNORD_Q)};
  }
  static Value Select(Mask mask, Value a, Value b) {
    return {_mm256_blendv_ps(b.low, a.low, mask.low), _mm256_blendv_ps(b.high, a.high, mask.high)};
  }

  static Part ZeroPart() { return _mm256_setzero_ps(); }
  static Part LoadPart(const void* from) { return _mm256_loadu_ps(static_cast<const float*>(from)); }
  static Part LoadF16Part(const void* from) { return _mm256_cvtph_ps(LoadWords(from)); }
  static Part LoadBf16Part(const void* from) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(LoadWords(from)), 16));
  }
  static Part FmaPart(Part a, Part b, Part c) { return _mm256_fmadd_ps(a, b, c); }
  static float SumParts(const Part parts[2]) { return Sum({parts[0], parts[1]}); }

  static float Sum(Value a) {
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  static Value LargerMagnitude(Value magnitudes, Value a) {
    return {LargerMagnitude(magnitudes.low, a.low), LargerMagnitude(magnitudes.high, a.high)};
  }
  static uint32_t LargestBits(Value magnitudes) {
    const __m256i eight = _mm256_max_epu32(_mm256_castps_si256(magnitudes.low), _mm256_castps_si256(magnitudes.high));
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(four));
  }
  static int32_t StoreCodes(Value a, int8_t* to) {
    const __m256i magic = _mm256_castps_si256(_mm256_set1_ps(kRoundMagic));
    const __m256i low = _mm256_sub_epi32(_mm256_castps_si256(a.low), magic);
    const __m256i high = _mm256_sub_epi32(_mm256_castps_si256(a.high), magic);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
    const __m256i eight = _mm256_add_epi32(low, high);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    return _mm_cvtsi128_si32(four);
  }

 private:
  static __m128i LoadWords(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
  static __m256 AddToExponent(__m256 p, __m256 t) {
    const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), shifted));
  }
  static __m256 LargerMagnitude(__m256 magnitudes, __m256 a) {
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffffff));
    return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(magnitudes), bits));
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CHAINS_AVX2_H_
