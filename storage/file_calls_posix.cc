// Syncs, reservations, locks and the page cache on hosts other than Linux; macOS has
// calls of its own for each.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "base/status.h"
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

namespace {

// True when `operation` was granted, false when another descriptor is in the way.
absl::StatusOr<bool> Flock(int fd, int operation, const std::string& path) {
  int result = 0;
  do {
    result = flock(fd, operation | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return true;
  return errno == EWOULDBLOCK ? absl::StatusOr<bool>(false) : FileError("lock", path);
}

}  // namespace

// Who asks holds a shared lock for some microseconds: that is waited for.
absl::StatusOr<bool> TryLock(int fd, const std::string& path) {
  constexpr int kTries = 1000;
  for (int i = 1; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const bool locked, Flock(fd, LOCK_EX, path));
    if (locked) return true;
    std::this_thread::yield();
  }
  return Flock(fd, LOCK_EX, path);
}

// flock has no other way to ask.
absl::StatusOr<bool> IsLockedByOther(int fd, const std::string& path) {
  ASSIGN_OR_RETURN(const bool shared, Flock(fd, LOCK_SH, path));
  if (shared) flock(fd, LOCK_UN);
  return !shared;
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
