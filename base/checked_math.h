// Arithmetic on numbers that came from a file: every result is checked.
#ifndef SLUICE_BASE_CHECKED_MATH_H_
#define SLUICE_BASE_CHECKED_MATH_H_

#include <cstdint>
#include <limits>

namespace sluice {

// Each returns false, leaving *out unspecified, when the result does not fit.
inline bool CheckedMul(uint64_t a, uint64_t b, uint64_t* out) { return !__builtin_mul_overflow(a, b, out); }
inline bool CheckedAdd(uint64_t a, uint64_t b, uint64_t* out) { return !__builtin_add_overflow(a, b, out); }

// For sums of memory: what does not fit is more than any machine has.
inline uint64_t SaturatingMul(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return CheckedMul(a, b, &product) ? product : std::numeric_limits<uint64_t>::max();
}
inline uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return CheckedAdd(a, b, &sum) ? sum : std::numeric_limits<uint64_t>::max();
}

// The quotient, 0 when there is nothing to divide by.
inline double Ratio(double numerator, double denominator) { return denominator > 0 ? numerator / denominator : 0.0; }

// `alignment` is a power of two and `value + alignment` does not wrap.
constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) { return (value + alignment - 1) & ~(alignment - 1); }
constexpr uint64_t AlignDown(uint64_t value, uint64_t alignment) { return value & ~(alignment - 1); }
constexpr bool IsPowerOfTwo(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

template <typename T>
constexpr T CeilDiv(T value, T divisor) {
  return (value + divisor - 1) / divisor;
}

}  // namespace sluice

#endif  // SLUICE_BASE_CHECKED_MATH_H_
