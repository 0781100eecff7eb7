// SLUICE_CHECK: a bug in this program, never the state of the world.
//
// A failed check prints file, line and condition to stderr and aborts. Files,
// flags, kernels and disks report through absl::Status instead (base/status.h).
// The names carry a prefix because doctest owns the short ones.
#ifndef SLUICE_BASE_CHECK_H_
#define SLUICE_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

namespace sluice {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace sluice

#define SLUICE_CHECK(condition)                              \
  do {                                                       \
    if (!(condition)) [[unlikely]]                           \
      ::sluice::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)

#ifdef NDEBUG
#define SLUICE_DCHECK(condition) \
  do {                           \
  } while (false && (condition))
#else
#define SLUICE_DCHECK(condition) SLUICE_CHECK(condition)
#endif

#endif  // SLUICE_BASE_CHECK_H_
