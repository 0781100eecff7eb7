// Small helpers of the vector kernels; see compute/simd_avx512.h on linkage.
#ifndef SLUICE_COMPUTE_SIMD_COMMON_H_
#define SLUICE_COMPUTE_SIMD_COMMON_H_

#include <cstdint>
#include <cstring>

#if defined(__clang__)
#define SLUICE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SLUICE_UNROLL _Pragma("GCC unroll 16")
#endif
// For functions whose arrays must become registers of the caller.
#define SLUICE_INLINE inline __attribute__((always_inline))
// For inner loops that need all registers: inlined they would share them.
#define SLUICE_NOINLINE __attribute__((noinline))
#define SLUICE_INLINE_LAMBDA __attribute__((always_inline))

namespace sluice {
namespace {

constexpr int32_t kSignBit = -0x7fffffff - 1;
constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer

SLUICE_INLINE int32_t LoadDword(const void* from) {
  int32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Indices of a byte shuffle inside a dword, -1 for zero. The dword's place is
// added later, so the top bit must survive an addition of up to 12.
constexpr int32_t PackBytes(int k0, int k1, int k2, int k3) {
  return static_cast<int32_t>((k0 & 0x83u) | (k1 & 0x83u) << 8 | (k2 & 0x83u) << 16 | (k3 & 0x83u) << 24);
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_COMMON_H_
