#include "storage/system_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace sluice {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

// "Name:   123 kB" in a file of /proc; kNone when absent.
uint64_t ProcValueBytes(const std::string& path, absl::string_view name) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!absl::StartsWith(line, name)) continue;
    std::istringstream fields(line.substr(name.size()));
    uint64_t kib = 0;
    if (fields >> kib) return kib << 10;
  }
  return kNone;
}

// A file that holds one number; kNone for "max" or when absent.
uint64_t NumberIn(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  uint64_t value = 0;
  if (!(file >> text) || !absl::SimpleAtoi(text, &value)) return kNone;
  return value;
}

// "name 123" in a file of a cgroup; 0 when absent.
uint64_t StatValue(const std::string& path, absl::string_view name) {
  std::ifstream file(path);
  std::string key;
  uint64_t value = 0;
  while (file >> key >> value) {
    if (key == name) return value;
  }
  return 0;
}

// What the two versions of cgroups call the same things.
struct CgroupNames {
  absl::string_view mount;
  std::vector<absl::string_view> limits;  // the smallest counts
  absl::string_view usage;
  std::vector<absl::string_view> cache;  // in memory.stat: file pages, that give way to what is asked for
};

CgroupNames NamesV1() {
  return {"/sys/fs/cgroup/memory",
          {"memory.limit_in_bytes"},
          "memory.usage_in_bytes",
          {"total_active_file", "total_inactive_file"}};
}
// Above memory.high a group is slowed down until it swaps.
CgroupNames NamesV2() {
  return {"/sys/fs/cgroup", {"memory.max", "memory.high"}, "memory.current", {"active_file", "inactive_file"}};
}

// Without a limit v1 reports a number near 2^63.
uint64_t LeftIn(const std::string& folder, const CgroupNames& names) {
  uint64_t limit_bytes = kNone;
  for (const absl::string_view limit : names.limits) {
    limit_bytes = std::min(limit_bytes, NumberIn(absl::StrCat(folder, "/", limit)));
  }
  uint64_t used_bytes = NumberIn(absl::StrCat(folder, "/", names.usage));
  if (limit_bytes >= uint64_t{1} << 60 || used_bytes == kNone) return kNone;
  for (const absl::string_view name : names.cache) {
    used_bytes -= std::min(used_bytes, StatValue(folder + "/memory.stat", name));
  }
  return limit_bytes - std::min(limit_bytes, used_bytes);
}

// Smallest remainder on the way from the process's group up to the root.
uint64_t LeftOnPath(const std::string& root, std::string group, const CgroupNames& names) {
  uint64_t left = kNone;
  for (;;) {
    left = std::min(left, LeftIn(absl::StrCat(root, names.mount, group), names));
    const size_t slash = group.find_last_of('/');
    if (slash == std::string::npos || group.size() <= 1) return left;
    group.resize(slash);
  }
}

uint64_t CgroupLeftBytes(const std::string& root) {
  std::ifstream file(root + "/proc/self/cgroup");
  std::string line;
  uint64_t left = kNone;
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    if (fields[1].empty()) {
      left = std::min(left, LeftOnPath(root, fields[2], NamesV2()));
    } else if (absl::StrContains(fields[1], "memory")) {
      left = std::min(left, LeftOnPath(root, fields[2], NamesV1()));
    }
  }
  return left;
}

}  // namespace

uint64_t AvailableMemoryBytes(const std::string& root) {
  uint64_t available = ProcValueBytes(root + "/proc/meminfo", "MemAvailable:");
  if (available == kNone) {
    // No such file on macOS: take half of the memory for used.
    available = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 2;
  }
  return std::min(available, CgroupLeftBytes(root));
}

uint64_t DefaultBudgetBytes(const std::string& root) {
  const uint64_t available = AvailableMemoryBytes(root);
  const uint64_t reserve = std::max(available / 10, uint64_t{256} << 20);
  return available - std::min(available, reserve);
}

uint64_t PeakResidentBytes() {
  const uint64_t peak = ProcValueBytes("/proc/self/status", "VmHWM:");
  if (peak != kNone) return peak;
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss);  // bytes on macOS
}

}  // namespace sluice
