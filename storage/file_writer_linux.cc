// Reflinks and orderly write-out on Linux.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "storage/file_writer.h"

namespace sluice {

absl::Status FileWriter::CloneRange(uint64_t from, uint64_t to, uint64_t bytes) {
  file_clone_range range = {};
  range.src_fd = fd_;
  range.src_offset = from;
  range.src_length = bytes;
  range.dest_offset = to;
  if (ioctl(fd_, FICLONERANGE, &range) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(
      errno, absl::StrCat("cannot share ", bytes, " bytes at offset ", from, " of ", partial_path_, " with ", to));
}

// Dirty pages of two calls at most: the drive writes one while the next is
// filled, and neither pushes other files out of memory.
void FileWriter::WriteBack(uint64_t offset, uint64_t bytes) {
  constexpr uint64_t kWorthwhileBytes = 1 << 20;
  if (bytes < kWorthwhileBytes) return;
  sync_file_range(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE);
  if (pending_bytes_ > 0) {
    const off_t begin = static_cast<off_t>(pending_offset_), length = static_cast<off_t>(pending_bytes_);
    sync_file_range(fd_, begin, length,
                    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    posix_fadvise(fd_, begin, length, POSIX_FADV_DONTNEED);
  }
  pending_offset_ = offset;
  pending_bytes_ = bytes;
}

}  // namespace sluice
