// AVX-512 for machines that have none: what the kernels use of it, by SIMDe.
//
// Found before the compiler's own header where the meson option emulate_avx512
// is set, so that the AVX-512 kernels compile for AVX2 and their bits can be
// tested on any x86 machine. Says nothing about their speed. Below are the
// instructions that SIMDe 0.7.4 lacks.
#ifndef SLUICE_TESTS_EMULATION_IMMINTRIN_H_
#define SLUICE_TESTS_EMULATION_IMMINTRIN_H_

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/gfni.h>

namespace emulation {

using Int = simde__m512i;
using Float = simde__m512;

// out[i] = function(i) for all elements.
template <class Vector, class Element, class Function>
inline Vector Make(Function function) {
  Element elements[sizeof(Vector) / sizeof(Element)];
  for (unsigned i = 0; i < sizeof(Vector) / sizeof(Element); ++i) elements[i] = static_cast<Element>(function(i));
  Vector vector;
  __builtin_memcpy(&vector, elements, sizeof vector);
  return vector;
}

template <class Element, class Vector>
inline Element At(const Vector& vector, unsigned i) {
  Element element;
  __builtin_memcpy(&element, reinterpret_cast<const char*>(&vector) + i * sizeof(Element), sizeof element);
  return element;
}

template <class Element>
inline Element Load(const void* base, int64_t offset) {
  Element element;
  __builtin_memcpy(&element, static_cast<const char*>(base) + offset, sizeof element);
  return element;
}

inline __m256i GatherDwords(Int index, const void* base, int scale) {
  return Make<__m256i, int32_t>([&](unsigned i) { return Load<int32_t>(base, At<int64_t>(index, i) * scale); });
}
inline Int GatherDwordsMasked(Int source, uint16_t mask, Int index, const void* base, int scale) {
  return Make<Int, int32_t>([&](unsigned i) {
    return mask >> i & 1 ? Load<int32_t>(base, int64_t{At<int32_t>(index, i)} * scale) : At<int32_t>(source, i);
  });
}
inline Int GatherQuadsMasked(Int source, uint8_t mask, __m256i index, const void* base, int scale) {
  return Make<Int, int64_t>([&](unsigned i) {
    return mask >> i & 1 ? Load<int64_t>(base, int64_t{At<int32_t>(index, i)} * scale) : At<int64_t>(source, i);
  });
}
inline uint16_t LessThan(Int a, Int b) {
  unsigned mask = 0;
  for (unsigned i = 0; i < 16; ++i) mask |= static_cast<unsigned>(At<int32_t>(a, i) < At<int32_t>(b, i)) << i;
  return static_cast<uint16_t>(mask);
}
inline uint16_t LargerBytes(__m128i a, __m128i b) {
  unsigned mask = 0;
  for (unsigned i = 0; i < 16; ++i) mask |= static_cast<unsigned>(At<uint8_t>(a, i) > At<uint8_t>(b, i)) << i;
  return static_cast<uint16_t>(mask);
}
template <class To, class Element, class FromElement, class From>
inline To Convert(From from) {
  return Make<To, Element>([&](unsigned i) { return At<FromElement>(from, i); });
}
inline Float FromHalves(__m256i halves) {
  return Make<Float, float>([&](unsigned i) { return _cvtsh_ss(At<uint16_t>(halves, i)); });
}
inline __m256i ToHalves(Float floats) {
  return Make<__m256i, uint16_t>([&](unsigned i) { return _cvtss_sh(At<float>(floats, i), 0); });
}
inline __m256 HalfOf(Float floats, int half) {
  return Make<__m256, float>([&](unsigned i) { return At<float>(floats, i + 8 * static_cast<unsigned>(half)); });
}
inline int32_t Sum(Int a) {
  uint32_t sum = 0;
  for (unsigned i = 0; i < 16; ++i) sum += At<uint32_t>(a, i);
  return static_cast<int32_t>(sum);
}
inline uint32_t Largest(Int a) {
  uint32_t largest = 0;
  for (unsigned i = 0; i < 16; ++i) largest = At<uint32_t>(a, i) > largest ? At<uint32_t>(a, i) : largest;
  return largest;
}
inline Int ShiftRightSigned(Int a, unsigned bits) {
  return Make<Int, int32_t>([&](unsigned i) { return At<int32_t>(a, i) >> bits; });
}

}  // namespace emulation

#define _mm512_i64gather_epi32(index, base, scale) emulation::GatherDwords(index, base, scale)
#define _mm512_mask_i32gather_epi32(source, mask, index, base, scale) \
  emulation::GatherDwordsMasked(source, mask, index, base, scale)
#define _mm512_mask_i32gather_epi64(source, mask, index, base, scale) \
  emulation::GatherQuadsMasked(source, mask, index, base, scale)
#define _mm512_cmplt_epi32_mask(a, b) emulation::LessThan(a, b)
#define _mm_cmpgt_epu8_mask(a, b) emulation::LargerBytes(a, b)
#define _mm512_cvtepi32_epi16(a) emulation::Convert<__m256i, int16_t, int32_t>(a)
#define _mm512_cvtepi32_epi8(a) emulation::Convert<__m128i, int8_t, int32_t>(a)
#define _mm256_cvtepi32_epi16(a) emulation::Convert<__m128i, int16_t, int32_t>(a)
#define _mm512_cvtepi8_epi32(a) emulation::Convert<emulation::Int, int32_t, int8_t>(a)
#define _mm512_cvtepi16_epi32(a) emulation::Convert<emulation::Int, int32_t, int16_t>(a)
#define _mm512_cvtepu16_epi32(a) emulation::Convert<emulation::Int, int32_t, uint16_t>(a)
#define _mm512_cvtepi32_ps(a) emulation::Convert<emulation::Float, float, int32_t>(a)
#define _mm512_cvtph_ps(a) emulation::FromHalves(a)
#define _mm512_cvtps_ph(a, rounding) emulation::ToHalves(a)
#define _mm512_extractf32x8_ps(a, half) emulation::HalfOf(a, half)
#define _mm512_reduce_add_epi32(a) emulation::Sum(a)
#define _mm512_reduce_max_epu32(a) emulation::Largest(a)
#define _mm512_srai_epi32(a, bits) emulation::ShiftRightSigned(a, bits)

// Arguments of the kernels hold commas of their own.
#undef _mm512_or_si512
#define _mm512_or_si512(...) simde_mm512_or_si512(__VA_ARGS__)

#endif  // SLUICE_TESTS_EMULATION_IMMINTRIN_H_
