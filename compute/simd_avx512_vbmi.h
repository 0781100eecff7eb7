// What AVX-512 VBMI adds to the vocabulary: byte permutations of whole registers.
// For files compiled with it; linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_AVX512_VBMI_H_
#define SLUICE_COMPUTE_SIMD_AVX512_VBMI_H_

#include <immintrin.h>

#include "compute/simd_avx512.h"

namespace sluice {
namespace {

struct Avx512Vbmi : Avx512 {
  // A table is there four times, so what stands above a nibble need not be masked off.
  static Int LookupLow(Int table, Int bytes) { return _mm512_permutexvar_epi8(bytes, table); }
  static Int LookupHigh(Int table, Int bytes) { return LookupLow(table, _mm512_srli_epi32(bytes, 4)); }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_AVX512_VBMI_H_
