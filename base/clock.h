// Monotonic time. Nothing in the program reads the wall clock to measure.
#ifndef SLUICE_BASE_CLOCK_H_
#define SLUICE_BASE_CLOCK_H_

#include <chrono>
#include <cstdint>

namespace sluice {

inline int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline double SecondsOf(int64_t ns) { return static_cast<double>(ns) / 1e9; }

}  // namespace sluice

#endif  // SLUICE_BASE_CLOCK_H_
