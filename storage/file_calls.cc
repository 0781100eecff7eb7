#include "storage/file_calls.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

// Hosts refuse or cut calls of 2 GiB and more.
constexpr uint64_t kLargestCallBytes = uint64_t{1} << 30;

absl::string_view Cure(int error) {
  switch (error) {
    case ENOSPC:
      return "; free some space there and give the command again";
    case EDQUOT:
      return "; delete files of this user there, or have the quota raised, and give the command again";
    case EFBIG:
      return "; the file system or `ulimit -f` allows no larger file: raise it, or write elsewhere";
    case EROFS:
      return "; write elsewhere";
    default:
      return "";
  }
}

}  // namespace

absl::Status FileError(absl::string_view what, const std::string& path) {
  const int error = errno;
  const absl::Status status = absl::ErrnoToStatus(error, absl::StrCat("cannot ", what, " ", path));
  return absl::Status(status.code(), absl::StrCat(status.message(), Cure(error)));
}

std::string FolderOf(const std::string& path) {
  size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "." : "/";
  end = path.rfind('/', end);
  if (end == std::string::npos) return ".";
  end = path.find_last_not_of('/', end);
  return end == std::string::npos ? "/" : path.substr(0, end + 1);
}

absl::Status WriteFully(int fd, uint64_t offset, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const size_t length = std::min<uint64_t>(bytes.size(), kLargestCallBytes);
    const ssize_t written = pwrite(fd, bytes.data(), length, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write", path);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ReadFully(int fd, uint64_t offset, char* out, uint64_t bytes, const std::string& path) {
  uint64_t done = 0;
  while (done < bytes) {
    const size_t length = std::min(bytes - done, kLargestCallBytes);
    const ssize_t got = pread(fd, out + done, length, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError("read", path);
    if (got == 0) break;
    done += static_cast<uint64_t>(got);
  }
  return done;
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == EACCES ? absl::OkStatus() : FileError("open the folder", folder);
  const bool failed = fsync(fd) != 0 && errno == EIO;
  const absl::Status status = failed ? FileError("sync", folder) : absl::OkStatus();
  close(fd);
  return status;
}

absl::StatusOr<uint64_t> FreeBytes(int fd, const std::string& path) {
  struct statvfs info;
  if (fstatvfs(fd, &info) != 0) return FileError("ask for the free space of", path);
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace sluice
