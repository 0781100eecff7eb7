#include <immintrin.h>

#include <cstring>

#include "bench/machine_limits.h"

namespace sluice {
namespace {

int32_t SumOf(__m256i sum) {
  int32_t lanes[8];
  std::memcpy(lanes, &sum, sizeof lanes);
  uint32_t total = 0;
  for (int32_t lane : lanes) total += static_cast<uint32_t>(lane);
  return static_cast<int32_t>(total);
}

int32_t ReadAll(const uint8_t* data, size_t bytes) {
  __m256i sums[8];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  for (size_t i = 0; i < bytes; i += 256) {
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      sums[k] = _mm256_add_epi32(sums[k], _mm256_load_si256(reinterpret_cast<const __m256i*>(data + i + 32 * k)));
    }
  }
  for (int k = 1; k < 8; ++k) sums[0] = _mm256_add_epi32(sums[0], sums[k]);
  return SumOf(sums[0]);
}

constexpr int kChains = 12;  // enough to hide the latency

int32_t Int8Peak(int64_t steps) {
  __m256i sums[kChains];
#pragma GCC unroll 12
  for (int k = 0; k < kChains; ++k) sums[k] = _mm256_set1_epi32(k);
  __m256i codes = _mm256_set1_epi32(static_cast<int32_t>(steps) | 0x01020304);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) {
      __asm__("" : "+x"(codes));  // hides that all steps compute the same
      sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(_mm256_maddubs_epi16(codes, codes), ones));
    }
  }
  for (int k = 1; k < kChains; ++k) sums[0] = _mm256_xor_si256(sums[0], sums[k]);
  return SumOf(sums[0]);
}

}  // namespace

MachineLimits Avx2Limits() { return {ReadAll, Int8Peak, kChains * 32}; }

}  // namespace sluice
