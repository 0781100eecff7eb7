// Syncs, reservations, locks and the page cache on Linux.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "storage/file_calls.h"

namespace sluice {

absl::Status SyncData(int fd, const std::string& path) {
  return fdatasync(fd) == 0 ? absl::OkStatus() : FileError("sync", path);
}

// Not posix_fallocate: where the file system cannot reserve, it would write to
// every block.
absl::Status ReserveSpace(int fd, uint64_t size_bytes, uint64_t bytes, const std::string& path) {
  if (size_bytes != bytes && ftruncate(fd, static_cast<off_t>(bytes)) != 0) return FileError("resize", path);
  int result = 0;
  do {
    result = bytes == 0 ? 0 : fallocate(fd, 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return absl::OkStatus();
  const absl::Status status = FileError("reserve space for", path);
  if (size_bytes < bytes) (void)!ftruncate(fd, static_cast<off_t>(size_bytes));
  return status;
}

// F_GETLK does not see what flock holds.
absl::StatusOr<bool> TryLock(int fd, const std::string& path) {
  struct flock wish = {};
  wish.l_type = F_WRLCK;
  wish.l_whence = SEEK_SET;
  int result = 0;
  do {
    result = fcntl(fd, F_OFD_SETLK, &wish);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return FileError("lock", path);
}

absl::StatusOr<bool> IsLockedByOther(int fd, const std::string& path) {
  struct flock wish = {};
  wish.l_type = F_WRLCK;
  wish.l_whence = SEEK_SET;
  if (fcntl(fd, F_GETLK, &wish) != 0) return FileError("ask for the lock of", path);
  return wish.l_type != F_UNLCK;
}

bool BypassCache(int fd, bool bypass) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return false;
  return fcntl(fd, F_SETFL, bypass ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

void StartWriteOut(int fd, uint64_t offset, uint64_t bytes) {
  sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE);
}

void ForgetCached(int fd) { posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); }

}  // namespace sluice
