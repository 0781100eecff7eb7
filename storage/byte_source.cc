#include "storage/byte_source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace sluice {
namespace {

std::string ErrnoText(int error) { return std::generic_category().message(error); }

absl::Status CannotOpen(const std::string& path, int error) {
  const std::string message = absl::StrCat("cannot open ", path, ": ", ErrnoText(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  return absl::FailedPreconditionError(message);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileByteSource>> FileByteSource::Open(const std::string& path) {
  // Without O_NONBLOCK a pipe in place of the file would block here for ever.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return CannotOpen(path, errno);
  std::unique_ptr<FileByteSource> source(new FileByteSource(path, descriptor));
  RETURN_IF_ERROR(source->FindSize());
  return source;
}

FileByteSource::~FileByteSource() { close(descriptor_); }

absl::Status FileByteSource::FindSize() {
  struct stat info;
  if (fstat(descriptor_, &info) != 0) return CannotOpen(path_, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat("cannot open ", path_, ": not a regular file"));
  }
  size_bytes_ = static_cast<uint64_t>(info.st_size);
  return absl::OkStatus();
}

absl::Status FileByteSource::Read(uint64_t offset, size_t length, void* out) {
  SLUICE_CHECK(offset <= size_bytes_ && length <= size_bytes_ - offset);
  size_t done = 0;
  while (done < length) {
    const ssize_t got =
        pread(descriptor_, static_cast<char*>(out) + done, length - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      const std::string why = got < 0 ? ErrnoText(errno) : "the file shrank while it was read";
      return absl::DataLossError(absl::StrCat("cannot read ", path_, " at byte ", offset + done, ": ", why));
    }
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status MemoryByteSource::Read(uint64_t offset, size_t length, void* out) {
  SLUICE_CHECK(offset <= bytes_.size() && length <= bytes_.size() - offset);
  if (length > 0) std::memcpy(out, bytes_.data() + offset, length);
  return absl::OkStatus();
}

}  // namespace sluice
