// Direct reads on Linux: O_DIRECT, with the alignment that the file asks for.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "storage/direct_file.h"

namespace sluice {
namespace {

constexpr uint32_t kSmallestAlignment = 512;
constexpr uint32_t kLargestAlignment = 64 << 10;
constexpr long kTmpfsMagic = 0x01021994;
constexpr long kRamfsMagic = static_cast<long>(0x858458f6);

enum class Answer { kUnknown, kRefused, kGiven };

// What statx says, on kernels (6.1) and file systems that say it.
Answer AskForAlignment([[maybe_unused]] int fd, [[maybe_unused]] uint32_t* alignment) {
#ifdef STATX_DIOALIGN
  struct statx info;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) != 0) return Answer::kUnknown;
  if ((info.stx_mask & STATX_DIOALIGN) == 0) return Answer::kUnknown;
  if (info.stx_dio_offset_align == 0) return Answer::kRefused;
  *alignment = std::max({kSmallestAlignment, info.stx_dio_mem_align, info.stx_dio_offset_align});
  if (IsPowerOfTwo(*alignment) && *alignment <= kLargestAlignment) return Answer::kGiven;
#endif
  return Answer::kUnknown;
}

// Newer kernels accept O_DIRECT on memory file systems and then read through
// the page cache all the same.
bool LivesInPageCache(int fd) {
  struct statfs info;
  if (fstatfs(fd, &info) != 0) return false;
  const long type = static_cast<long>(info.f_type);
  return type == kTmpfsMagic || type == kRamfsMagic;
}

// The smallest alignment that a read succeeds with; 0 when none does. The read
// begins at one unit into file and buffer, so that a coarser unit shows.
uint32_t ProbeAlignment(int fd) {
  absl::StatusOr<AlignedBuffer> buffer = AlignedBuffer::Create(4 * 4096);
  if (!buffer.ok()) return 0;
  for (uint32_t alignment : {512u, 4096u}) {
    if (pread(fd, buffer->data() + alignment, alignment, alignment) >= 0) return alignment;
  }
  return 0;
}

uint32_t DirectAlignment(int fd) {
  if (LivesInPageCache(fd)) return 0;
  uint32_t alignment = 0;
  switch (AskForAlignment(fd, &alignment)) {
    case Answer::kGiven:
      return alignment;
    case Answer::kRefused:
      return 0;
    case Answer::kUnknown:
      break;
  }
  return ProbeAlignment(fd);
}

}  // namespace

absl::StatusOr<DirectFile> DirectFile::Open(const std::string& path) {
  absl::StatusOr<DirectFile> direct = OpenWith(path, O_DIRECT);
  if (direct.ok()) {
    const uint32_t alignment = DirectAlignment(direct->fd());
    direct->direct_ = alignment != 0;
    if (alignment != 0) direct->alignment_bytes_ = alignment;
    if (direct->direct()) return direct;
  }
  return OpenBuffered(path);
}

}  // namespace sluice
