// What AVX-512 VBMI adds to the vocabulary: byte permutations of whole registers.
// For files compiled with it; linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_AVX512_VBMI_H_
#define SLUICE_COMPUTE_SIMD_AVX512_VBMI_H_

#include <immintrin.h>

#include "compute/interleave.h"
#include "compute/simd_avx512.h"
#include "compute/simd_panel.h"

namespace sluice {
namespace {

struct Avx512Vbmi : Avx512 {
  // A table is there four times, so what stands above a nibble need not be masked off.
  static Int LookupLow(Int table, Int bytes) { return _mm512_permutexvar_epi8(bytes, table); }
  static Int LookupHigh(Int table, Int bytes) { return LookupLow(table, _mm512_srli_epi32(bytes, 4)); }
};

// For panels that InterleavePanel() made: a field is there for sixteen outputs side by side.
struct Avx512Interleaved : Avx512 {
  template <int kCount, size_t kRoom>
  static void TakeFields(const uint8_t* field, size_t, Int (*fields)[kRoom]) {
    SLUICE_UNROLL
    for (int i = 0; i < kCount; ++i) (*fields)[i] = _mm512_loadu_si512(field + 64 * i);
  }
  static Float GatherHalves(const uint8_t* field, size_t) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(field)));
  }
};
template <>
constexpr int kFieldSpread<Avx512Interleaved> = Avx512::kLanes;
static_assert(kInterleavedRows == Avx512::kLanes);

// The same with fields loaded where they are used: 6 % faster for iq3, whose many fields find no registers, and 7 %
// slower for iq1_s.
struct Avx512InterleavedOnUse : Avx512Interleaved {
  struct Fields {
    const uint8_t* first;
    SLUICE_INLINE Int operator[](int i) const { return _mm512_loadu_si512(first + 64 * i); }
  };
  template <int>
  static void TakeFields(const uint8_t* field, size_t, Fields* fields) {
    fields->first = field;
  }
};
template <>
struct CommonBytes<Avx512InterleavedOnUse> {
  using Type = Avx512InterleavedOnUse::Fields;
};
template <>
constexpr int kFieldSpread<Avx512InterleavedOnUse> = Avx512::kLanes;

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_AVX512_VBMI_H_
