#include "src/engine/heap.h"

#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace sluice {

void KeepHeapTight() {
#if defined(__GLIBC__)
  constexpr int kMappedFromBytes = 64 << 10;
  constexpr int kTrimBytes = 128 << 10;
  // Setting a threshold also keeps it from growing.
  mallopt(M_MMAP_THRESHOLD, kMappedFromBytes);
  mallopt(M_TRIM_THRESHOLD, kTrimBytes);
  // One arena: the threads allocate next to nothing while sweeps run.
  mallopt(M_ARENA_MAX, 1);
#endif
}

void ReturnFreeMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace sluice
