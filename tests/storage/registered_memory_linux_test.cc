// Memory that io_uring may or may not register. In a program of its own: rights
// and limits given up stay so.
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "tests/storage/scratch_files.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Gigabytes of addresses that take two megabytes of memory, again and again.
class RepeatedMemory {
 public:
  explicit RepeatedMemory(uint64_t bytes) : bytes_(bytes) {
    const int fd = static_cast<int>(syscall(SYS_memfd_create, "repeated", 0));
    REQUIRE(fd >= 0);
    REQUIRE(ftruncate(fd, kPartBytes) == 0);
    void* place = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(place != MAP_FAILED);
    data_ = static_cast<uint8_t*>(place);
    for (uint64_t at = 0; at < bytes; at += kPartBytes) {
      REQUIRE(mmap(data_ + at, kPartBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED);
    }
    close(fd);
  }
  ~RepeatedMemory() { munmap(data_, bytes_); }
  uint8_t* data() { return data_; }
  absl::Span<uint8_t> span() { return {data_, bytes_}; }

 private:
  static constexpr uint64_t kPartBytes = 2 * kMiB;
  const uint64_t bytes_;
  uint8_t* data_ = nullptr;
};

// What the kernel has pinned of this process, in KiB.
uint64_t PinnedKib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    uint64_t kib = 0;
    if (word == "VmPin:" && status >> kib) return kib;
  }
  return 0;
}

std::unique_ptr<BlockReader> OpenUring(const ScratchFiles& files) {
  auto reader = OpenBlockReader(IoBackend::kUring, files.paths(), 4);
  if (reader.ok()) return *std::move(reader);
  MESSAGE("SKIP: io_uring cannot be used here");
  return nullptr;
}

void CheckRead(BlockReader* reader, uint8_t* destination) {
  constexpr uint32_t kBytes = 65536;
  std::fill_n(destination, kBytes, uint8_t{0});
  const BlockRead read{0, 4096, kBytes, destination, 1};
  REQUIRE(reader->Submit({&read, 1}).ok());
  BlockCompletion completion = {};
  absl::StatusOr<size_t> count = 0;
  while (count.ok() && *count == 0) count = reader->Reap({&completion, 1});
  REQUIRE(count.ok());
  CHECK(completion.result == static_cast<int32_t>(kBytes));
  CHECK(MatchingBytes(destination, 0, 4096, kBytes) == kBytes);
}

TEST_CASE("a region larger than the kernel registers at once is read to, also across its parts") {
  const ScratchFiles files({kMiB});
  const auto reader = OpenUring(files);
  if (reader == nullptr) return;
  constexpr uint64_t kGiB = 1024 * kMiB;
  RepeatedMemory memory(kGiB + 128 * kMiB);
  const absl::Span<uint8_t> regions[] = {memory.span()};
  reader->RegisterMemory(regions);
  if (PinnedKib() < kMiB) MESSAGE("SKIP: this user may not lock a gigabyte; only plain reads are tested");
  for (const uint64_t at : {uint64_t{0}, kGiB - 65536, kGiB - 4096, kGiB, kGiB + 64 * kMiB}) {
    CheckRead(reader.get(), memory.data() + at);
  }
}

// As an ordinary user; false when this cannot be had.
bool LockAtMost(rlim_t limit_bytes) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct rights[2] = {};
  if (syscall(SYS_capget, &header, rights) != 0) return false;
  rights[0].effective &= ~(1u << CAP_IPC_LOCK);
  if (syscall(SYS_capset, &header, rights) != 0) return false;
  const rlimit limit = {limit_bytes, limit_bytes};
  return setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
}

TEST_CASE("memory beyond the limit on locked memory is read to all the same, and what fits is registered") {
  const ScratchFiles files({kMiB});
  constexpr uint64_t kLimit = 8 * kMiB;
  if (!LockAtMost(kLimit)) {
    MESSAGE("SKIP: the limit on locked memory cannot be set here");
    return;
  }
  const auto reader = OpenUring(files);
  if (reader == nullptr) return;
  RepeatedMemory large(2 * kLimit), small(2 * kMiB);
  const absl::Span<uint8_t> regions[] = {large.span(), small.span()};
  const uint64_t before = PinnedKib();
  reader->RegisterMemory(regions);
  CHECK(PinnedKib() <= before);  // what an earlier ring had goes away by and by
  CheckRead(reader.get(), large.data() + 4096);
  CheckRead(reader.get(), small.data());
  reader->RegisterMemory(absl::MakeSpan(regions).subspan(1));
  CheckRead(reader.get(), large.data() + 4096);
  CheckRead(reader.get(), small.data());
  // Nothing at all may be locked.
  REQUIRE(LockAtMost(0));
  reader->RegisterMemory(regions);
  CHECK(PinnedKib() <= before);
  CheckRead(reader.get(), small.data());
}

TEST_CASE("auto reads where no memory at all may be locked") {
  const ScratchFiles files({kMiB});
  if (!LockAtMost(0)) {
    MESSAGE("SKIP: the limit on locked memory cannot be set here");
    return;
  }
  RepeatedMemory memory(2 * kMiB);
  const auto reader = OpenOrDie(IoBackend::kAuto, files.paths(), 16);
  const absl::Span<uint8_t> regions[] = {memory.span()};
  reader->RegisterMemory(regions);
  CheckRead(reader.get(), memory.data());
}

}  // namespace
}  // namespace sluice
