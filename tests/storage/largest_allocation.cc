// In a file of its own: compilers that see these bodies inlined beside library
// code warn about new and free that do not match.
#include "tests/storage/largest_allocation.h"

#include <cstdlib>
#include <new>

#if defined(__has_feature)
#define SLUICE_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define SLUICE_THREAD_SANITIZER 0
#endif

namespace {

thread_local size_t largest_bytes = 0;

}  // namespace

// The thread sanitizer brings an operator new of its own, and two do not link.
#if !defined(__SANITIZE_THREAD__) && !SLUICE_THREAD_SANITIZER
void* operator new(size_t size) {
  if (size > largest_bytes) largest_bytes = size;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace sluice {

bool CountsAllocations() {
#if defined(__SANITIZE_THREAD__) || SLUICE_THREAD_SANITIZER
  return false;
#else
  return true;
#endif
}
size_t LargestAllocationBytes() { return largest_bytes; }
void ResetLargestAllocation() { largest_bytes = 0; }

}  // namespace sluice
