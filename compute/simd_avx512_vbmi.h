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
  static void Transpose16(const uint8_t* field, size_t, Int out[4]) { LoadFields<4>(field, out); }
  static void Transpose32(const uint8_t* field, size_t, Int out[8]) { LoadFields<8>(field, out); }
  static Int GatherDwords(const uint8_t* field, size_t) { return _mm512_loadu_si512(field); }
  static Float GatherHalves(const uint8_t* field, size_t) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(field)));
  }

 private:
  template <int kFields>
  static SLUICE_INLINE void LoadFields(const uint8_t* field, Int* out) {
    SLUICE_UNROLL
    for (int i = 0; i < kFields; ++i) out[i] = _mm512_loadu_si512(field + 64 * i);
  }
};

template <>
constexpr int kFieldSpread<Avx512Interleaved> = Avx512::kLanes;
static_assert(kInterleavedRows == Avx512::kLanes);

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_AVX512_VBMI_H_
