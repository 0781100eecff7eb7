#include "storage/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "storage/file_calls.h"

namespace sluice {
namespace {

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

absl::Status FileWriter::Failed(absl::string_view what) const { return FileError(what, partial_path_); }

absl::Status FileWriter::Write(uint64_t offset, absl::string_view bytes) {
  SLUICE_CHECK(fd_ >= 0);
  RETURN_IF_ERROR(WriteFully(fd_, offset, bytes, partial_path_));
  end_bytes_ = std::max(end_bytes_, offset + bytes.size());
  WriteBack(offset, bytes.size());
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

absl::StatusOr<uint64_t> FileWriter::FreeBytes() const { return sluice::FreeBytes(fd_, partial_path_); }

absl::Status FileWriter::Commit() {
  SLUICE_CHECK(fd_ >= 0);
  if (in_place()) return close(std::exchange(fd_, -1)) == 0 ? absl::OkStatus() : Failed("write");
  RETURN_IF_ERROR(SyncData(fd_, partial_path_));
  if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) return FileError("create", path_);
  close(std::exchange(fd_, -1));
  return SyncFolder(FolderOf(path_));
}

}  // namespace sluice
