// What the machine can do at best, to hold the kernels against.
//
// Plain loops with nothing in them but the limiting instruction.
#ifndef SLUICE_BENCH_MACHINE_LIMITS_H_
#define SLUICE_BENCH_MACHINE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace sluice {

// Reads `bytes`, a multiple of 256 at 64-byte alignment; the result depends on all of them.
int32_t ReadAllAvx512(const uint8_t* data, size_t bytes);

// Runs kInt8MacsPerStep multiply-accumulates of bytes, `steps` times, in registers.
inline constexpr int64_t kInt8MacsPerStep = 12 * 64;
int32_t Int8PeakAvx512(int64_t steps);

}  // namespace sluice

#endif  // SLUICE_BENCH_MACHINE_LIMITS_H_
