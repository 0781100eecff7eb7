#include "storage/system_memory.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/scratch_folder.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

// A machine as /proc and /sys show it.
class Machine {
 public:
  explicit Machine(uint64_t available_bytes) {
    Write(
        "/proc/meminfo",
        absl::StrCat("MemTotal:       99999999 kB\nMemFree:  17 kB\nMemAvailable:   ", available_bytes >> 10, " kB\n"));
  }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file(folder_.path() + path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  // A group of version 2 with a limit ("max" for none), what it uses and of it file pages.
  void GroupV2(const std::string& path, const std::string& limit, uint64_t used, uint64_t cache = 0) {
    const std::string folder = "/sys/fs/cgroup" + path;
    Write(folder + "/memory.max", limit + "\n");
    Write(folder + "/memory.current", absl::StrCat(used, "\n"));
    Write(folder + "/memory.stat", absl::StrCat("anon ", used - cache, "\nfile ", cache, "\ninactive_file ",
                                                cache / 4 * 3, "\nactive_file ", cache / 4, "\n"));
  }
  void GroupV1(const std::string& path, uint64_t limit, uint64_t used, uint64_t cache = 0) {
    const std::string folder = "/sys/fs/cgroup/memory" + path;
    Write(folder + "/memory.limit_in_bytes", absl::StrCat(limit, "\n"));
    Write(folder + "/memory.usage_in_bytes", absl::StrCat(used, "\n"));
    Write(folder + "/memory.stat", absl::StrCat("inactive_file 1\nactive_file 1\ntotal_inactive_file ", cache / 2,
                                                "\ntotal_active_file ", cache - cache / 2, "\n"));
  }
  uint64_t available() const { return AvailableMemoryBytes(folder_.path()); }
  uint64_t budget() const { return DefaultBudgetBytes(folder_.path()); }

 private:
  const ScratchFolder folder_;
};

TEST_CASE("without cgroups, or with groups that have no limit, the machine's free memory counts") {
  Machine machine(16 * kGiB);
  CHECK(machine.available() == 16 * kGiB);
  machine.Write("/proc/self/cgroup", "0::/user.slice/app\n");
  machine.GroupV2("/user.slice/app", "max", kGiB);
  CHECK(machine.available() == 16 * kGiB);
  machine.Write("/proc/self/cgroup", "12:cpu,cpuacct:/a\n4:memory:/a\n");
  machine.GroupV1("/a", 9223372036854771712u, kGiB);
  CHECK(machine.available() == 16 * kGiB);
}

TEST_CASE("the budget leaves a tenth, and 256 MiB at least, to the rest of the machine") {
  CHECK(Machine(20 * kGiB).budget() == 18 * kGiB);
  CHECK(Machine(kGiB).budget() == kGiB - 256 * kMiB);
  CHECK(Machine(100 * kMiB).budget() == 0);
}

TEST_CASE("the tightest group from the process's own up to the root counts, in both versions") {
  Machine two(64 * kGiB);
  two.Write("/proc/self/cgroup", "0::/outer/inner\n");
  two.GroupV2("/outer/inner", absl::StrCat(8 * kGiB), 2 * kGiB);
  CHECK(two.available() == 6 * kGiB);
  two.GroupV2("/outer", absl::StrCat(5 * kGiB), 3 * kGiB);
  CHECK(two.available() == 2 * kGiB);
  CHECK(two.budget() == 2 * kGiB - 256 * kMiB);

  Machine one(64 * kGiB);
  one.Write("/proc/self/cgroup", "3:cpu:/other\n7:hugetlb,memory:/outer/inner\n");
  one.GroupV1("/outer/inner", 8 * kGiB, 2 * kGiB);
  CHECK(one.available() == 6 * kGiB);
  one.GroupV1("/outer", 5 * kGiB, 3 * kGiB);
  CHECK(one.available() == 2 * kGiB);
}

TEST_CASE("a group that is full of file pages has room all the same") {
  Machine two(64 * kGiB);
  two.Write("/proc/self/cgroup", "0::/app\n");
  two.GroupV2("/app", absl::StrCat(8 * kGiB), 8 * kGiB, 7 * kGiB);
  CHECK(two.available() == 7 * kGiB);

  Machine one(64 * kGiB);
  one.Write("/proc/self/cgroup", "7:memory:/app\n");
  one.GroupV1("/app", 8 * kGiB, 8 * kGiB, 7 * kGiB);
  CHECK(one.available() == 7 * kGiB);
}

TEST_CASE("above memory.high a group is slowed down, so that is its limit") {
  Machine machine(64 * kGiB);
  machine.Write("/proc/self/cgroup", "0::/app\n");
  machine.GroupV2("/app", absl::StrCat(8 * kGiB), kGiB);
  machine.Write("/sys/fs/cgroup/app/memory.high", absl::StrCat(4 * kGiB, "\n"));
  CHECK(machine.available() == 3 * kGiB);
}

TEST_CASE("inside a container the group's own folder is the root of what is mounted") {
  Machine machine(64 * kGiB);
  machine.Write("/proc/self/cgroup", "7:memory:/docker/0123abcd\n");
  machine.GroupV1("", 4 * kGiB, kGiB);
  CHECK(machine.available() == 3 * kGiB);
}

TEST_CASE("a group over its limit has nothing left, and a machine without these files has something") {
  Machine machine(64 * kGiB);
  machine.Write("/proc/self/cgroup", "0::/app\nnonsense\n1:2\n");
  machine.GroupV2("/app", absl::StrCat(kGiB), 2 * kGiB);
  CHECK(machine.available() == 0);
  CHECK(machine.budget() == 0);
  const ScratchFolder empty;
  CHECK(AvailableMemoryBytes(empty.path()) > 0);
}

}  // namespace
}  // namespace sluice
