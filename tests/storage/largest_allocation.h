// Counts what operator new is asked for, in a program that links this file.
#ifndef SLUICE_TESTS_STORAGE_LARGEST_ALLOCATION_H_
#define SLUICE_TESTS_STORAGE_LARGEST_ALLOCATION_H_

#include <cstddef>

namespace sluice {

// False under the thread sanitizer, which leaves no room for counting.
bool CountsAllocations();
// The largest single allocation of this thread since the last reset.
size_t LargestAllocationBytes();
void ResetLargestAllocation();

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_LARGEST_ALLOCATION_H_
