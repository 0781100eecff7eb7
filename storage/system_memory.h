// What the machine and the process have: free memory, peak use.
#ifndef SLUICE_STORAGE_SYSTEM_MEMORY_H_
#define SLUICE_STORAGE_SYSTEM_MEMORY_H_

#include <cstdint>
#include <string>

namespace sluice {

// What can be used without swapping: the smaller of what the system calls
// available and what the process's memory cgroups (v1 and v2) have left. File
// pages that a group holds count as left: they give way. `root` is put before
// /proc and /sys.
uint64_t AvailableMemoryBytes(const std::string& root = "");

// The budget when the user gives none: leaves a tenth, and at least 256 MiB, to
// the rest of the machine.
uint64_t DefaultBudgetBytes(const std::string& root = "");

// Peak resident memory of this process so far.
uint64_t PeakResidentBytes();

}  // namespace sluice

#endif  // SLUICE_STORAGE_SYSTEM_MEMORY_H_
