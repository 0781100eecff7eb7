// What the machine can do at best, to hold the kernels against.
//
// Plain loops with nothing in them but the limiting instructions.
#ifndef SLUICE_BENCH_MACHINE_LIMITS_H_
#define SLUICE_BENCH_MACHINE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace sluice {

struct MachineLimits {
  // Reads `bytes`, a multiple of 256 at 64-byte alignment; the result depends on all of them.
  int32_t (*read_all)(const uint8_t* data, size_t bytes);
  // Runs int8_macs_per_step multiply-accumulates of bytes into int32, `steps` times, in registers.
  int32_t (*int8_peak)(int64_t steps);
  int64_t int8_macs_per_step;
};

// By byte dot products (VNNI).
MachineLimits Avx512Limits();
// By products of bytes to pairs in int16 and of those to int32: what AVX2 has instead.
MachineLimits Avx2Limits();

}  // namespace sluice

#endif  // SLUICE_BENCH_MACHINE_LIMITS_H_
