// Syncs, reservations, locks and the page cache on hosts other than Linux; macOS has
// calls of its own for each.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "storage/file_calls.h"

namespace sluice {

// fsync on macOS leaves the bytes in the drive's own cache. Network drives
// refuse the stronger call.
absl::Status SyncData(int fd, const std::string& path) {
#ifdef F_FULLFSYNC
  if (fcntl(fd, F_FULLFSYNC) == 0) return absl::OkStatus();
#endif
  return fsync(fd) == 0 ? absl::OkStatus() : FileError("sync", path);
}

absl::Status ReserveSpace(int fd, uint64_t size_bytes, uint64_t bytes, const std::string& path) {
#ifdef F_PREALLOCATE
  if (size_bytes < bytes) {
    fstore_t wish = {};
    wish.fst_flags = F_ALLOCATEALL;
    wish.fst_posmode = F_PEOFPOSMODE;
    wish.fst_length = static_cast<off_t>(bytes - size_bytes);
    if (fcntl(fd, F_PREALLOCATE, &wish) != 0 && errno == ENOSPC) return FileError("reserve space for", path);
  }
#endif
  if (size_bytes == bytes || ftruncate(fd, static_cast<off_t>(bytes)) == 0) return absl::OkStatus();
  return FileError("resize", path);
}

// BSD's flock and fcntl keep one list of locks.
absl::StatusOr<bool> TryLock(int fd, const std::string& path) {
  int result = 0;
  do {
    result = flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return true;
  return errno == EWOULDBLOCK ? absl::StatusOr<bool>(false) : FileError("lock", path);
}

bool BypassCache([[maybe_unused]] int fd, [[maybe_unused]] bool bypass) {
#ifdef F_NOCACHE
  return fcntl(fd, F_NOCACHE, bypass ? 1 : 0) == 0;
#else
  return false;
#endif
}

void StartWriteOut(int, uint64_t, uint64_t) {}

void ForgetCached(int) {}

}  // namespace sluice
