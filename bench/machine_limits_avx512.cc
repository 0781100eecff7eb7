#include <immintrin.h>

#include "bench/machine_limits.h"

namespace sluice {
namespace {

int32_t ReadAll(const uint8_t* data, size_t bytes) {
  __m512i sums[4];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (size_t i = 0; i < bytes; i += 256) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sums[k] = _mm512_add_epi32(sums[k], _mm512_load_si512(data + i + 64 * k));
  }
  const __m512i low = _mm512_add_epi32(sums[0], sums[1]);
  return _mm512_reduce_add_epi32(_mm512_add_epi32(low, _mm512_add_epi32(sums[2], sums[3])));
}

constexpr int kChains = 12;  // enough to hide the latency

int32_t Int8Peak(int64_t steps) {
  __m512i sums[kChains];
#pragma GCC unroll 12
  for (int k = 0; k < kChains; ++k) sums[k] = _mm512_set1_epi32(k);
  const __m512i codes = _mm512_set1_epi32(static_cast<int32_t>(steps) | 0x01020304);
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) sums[k] = _mm512_dpbusd_epi32(sums[k], codes, codes);
  }
  __m512i total = _mm512_setzero_si512();
#pragma GCC unroll 12
  for (int k = 0; k < kChains; ++k) total = _mm512_xor_si512(total, sums[k]);
  return _mm512_reduce_add_epi32(total);
}

}  // namespace

MachineLimits Avx512Limits() { return {ReadAll, Int8Peak, kChains * 64}; }

}  // namespace sluice
