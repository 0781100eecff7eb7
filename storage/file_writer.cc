#include "storage/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace sluice {
namespace {

constexpr uint64_t kLargestWrite = uint64_t{1} << 30;

absl::Status Errno(absl::string_view what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what, " ", path));
}

// Renaming over a device or a folder would take it away.
bool CanBeReplaced(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode);
}

}  // namespace

absl::StatusOr<FileWriter> FileWriter::Create(const std::string& path) {
  if (!CanBeReplaced(path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not an ordinary file; give the name of a file to write"));
  }
  FileWriter writer;
  writer.path_ = path;
  writer.partial_path_ = path + ".partial";
  RETURN_IF_ERROR(writer.Open(O_RDWR | O_CREAT | O_TRUNC));
  return writer;
}

absl::StatusOr<FileWriter> FileWriter::CreateOrOpen(const std::string& path) {
  if (CanBeReplaced(path)) return Create(path);
  FileWriter writer;
  writer.path_ = writer.partial_path_ = path;
  RETURN_IF_ERROR(writer.Open(O_WRONLY));
  return writer;
}

absl::Status FileWriter::Open(int flags) {
  fd_ = open(partial_path_.c_str(), flags | O_CLOEXEC, 0644);
  return fd_ < 0 ? Failed("create") : absl::OkStatus();
}

FileWriter& FileWriter::operator=(FileWriter&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(partial_path_, other.partial_path_);
  std::swap(end_bytes_, other.end_bytes_);
  std::swap(pending_offset_, other.pending_offset_);
  std::swap(pending_bytes_, other.pending_bytes_);
  return *this;
}

FileWriter::~FileWriter() { Discard(); }

void FileWriter::Discard() {
  if (fd_ < 0) return;
  close(std::exchange(fd_, -1));
  if (!in_place()) unlink(partial_path_.c_str());
}

absl::Status FileWriter::Failed(absl::string_view what) const { return Errno(what, partial_path_); }

absl::Status FileWriter::Write(uint64_t offset, absl::string_view bytes) {
  SLUICE_CHECK(fd_ >= 0);
  const uint64_t begin = offset;
  while (!bytes.empty()) {
    const size_t length = std::min<uint64_t>(bytes.size(), kLargestWrite);
    const ssize_t written = pwrite(fd_, bytes.data(), length, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("write");
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  end_bytes_ = std::max(end_bytes_, offset);
  WriteBack(begin, offset - begin);
  return absl::OkStatus();
}

absl::Status FileWriter::Append(absl::string_view bytes) { return Write(end_bytes_, bytes); }

absl::Status FileWriter::Resize(uint64_t bytes) {
  SLUICE_CHECK(fd_ >= 0);
  if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return Failed("resize");
  end_bytes_ = bytes;
  return absl::OkStatus();
}

absl::StatusOr<bool> FileWriter::CanClone() {
  SLUICE_CHECK(end_bytes_ == 0);
  RETURN_IF_ERROR(Write(0, std::string(kCloneAlignment, '\1')));
  RETURN_IF_ERROR(Resize(2 * kCloneAlignment));
  const bool can = CloneRange(0, kCloneAlignment, kCloneAlignment).ok();
  RETURN_IF_ERROR(Resize(0));
  return can;
}

absl::Status FileWriter::Clone(uint64_t from, uint64_t to, uint64_t bytes) {
  SLUICE_CHECK(from % kCloneAlignment == 0 && to % kCloneAlignment == 0 && bytes % kCloneAlignment == 0);
  return CloneRange(from, to, bytes);
}

absl::StatusOr<uint64_t> FileWriter::FreeBytes() const {
  struct statvfs info;
  if (fstatvfs(fd_, &info) != 0) return Failed("ask for the free space of");
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

absl::Status FileWriter::Commit() {
  SLUICE_CHECK(fd_ >= 0);
  if (in_place()) return close(std::exchange(fd_, -1)) == 0 ? absl::OkStatus() : Failed("write");
  if (fsync(fd_) != 0) return Failed("sync");
  if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) return Errno("create", path_);
  close(std::exchange(fd_, -1));
  return SyncFolder();
}

// Some file systems cannot sync folders; the file itself is safe.
absl::Status FileWriter::SyncFolder() const {
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int fd = open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::OkStatus();
  const bool failed = fsync(fd) != 0 && errno == EIO;
  const absl::Status status = failed ? Errno("sync", folder) : absl::OkStatus();
  close(fd);
  return status;
}

}  // namespace sluice
