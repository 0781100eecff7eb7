#include "storage/direct_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace sluice {

DirectFile& DirectFile::operator=(DirectFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(direct_, other.direct_);
  std::swap(alignment_bytes_, other.alignment_bytes_);
  return *this;
}

DirectFile::~DirectFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<DirectFile> DirectFile::OpenBuffered(const std::string& path) { return OpenWith(path, 0); }

absl::StatusOr<DirectFile> DirectFile::OpenWith(const std::string& path, int extra_flags) {
  DirectFile file;
  file.fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | extra_flags);
  if (file.fd_ < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  struct stat info;
  if (fstat(file.fd_, &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is a folder, not a file"));
  return file;
}

}  // namespace sluice
