// The allocator's manners: memory that is freed goes back to the system.
//
// glibc keeps what was freed and, with every large block that is freed, keeps
// more. The peak of the process would then depend on history; the plan counts
// on it being the sum of what is in use. Other allocators are left alone.
#ifndef SLUICE_SRC_ENGINE_HEAP_H_
#define SLUICE_SRC_ENGINE_HEAP_H_

namespace sluice {

// To be called before the first thread starts.
void KeepHeapTight();

// Returns pages that lie free between blocks in use.
void ReturnFreeMemory();

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_HEAP_H_
