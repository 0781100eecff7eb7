#include "storage/durable_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "storage/file_calls.h"

namespace sluice {
namespace {

constexpr uint64_t kBlockBytes = 4096;

// Owns a descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::StatusOr<Descriptor> OpenWith(int flags, const std::string& path) {
  int fd = -1;
  do {
    fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EINTR);
  if (fd >= 0) return Descriptor(fd);
  if (errno != EISDIR) return FileError("open", path);
  return absl::InvalidArgumentError(absl::StrCat(path, " is a folder; give the name of a file"));
}

absl::StatusOr<Descriptor> OpenOrCreate(const std::string& path) { return OpenWith(O_RDWR | O_CREAT, path); }

absl::StatusOr<struct stat> StatOrdinary(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) return FileError("stat", path);
  if (S_ISREG(info.st_mode)) return info;
  return absl::InvalidArgumentError(absl::StrCat(path, " is not an ordinary file; give the name of a file to write"));
}

class HostFile : public DurableFile {
 public:
  HostFile(Descriptor fd, std::string path, uint64_t size_bytes)
      : fd_(std::move(fd)), path_(std::move(path)), size_bytes_(size_bytes) {}

  uint64_t size_bytes() const override { return size_bytes_; }

  absl::Status Append(absl::string_view bytes) override {
    const absl::Status status = WriteFully(fd_.get(), size_bytes_, bytes, path_);
    if (status.ok()) {
      size_bytes_ += bytes.size();
    } else {
      NoteSize();
    }
    return status;
  }

  absl::Status WriteAt(uint64_t offset, absl::Span<const uint8_t> bytes) override {
    SLUICE_CHECK(offset <= size_bytes_ && bytes.size() <= size_bytes_ - offset);
    return WriteFully(fd_.get(), offset, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path_);
  }

  absl::StatusOr<std::string> ReadAt(uint64_t offset, uint64_t bytes) const override {
    if (offset >= size_bytes_) return std::string();
    std::string out(std::min(bytes, size_bytes_ - offset), '\0');
    ASSIGN_OR_RETURN(const uint64_t got, ReadFully(fd_.get(), offset, out.data(), out.size(), path_));
    out.resize(got);
    return out;
  }

  absl::Status Truncate(uint64_t bytes) override {
    SLUICE_CHECK(bytes <= size_bytes_);
    if (ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) return FileError("shorten", path_);
    size_bytes_ = bytes;
    return absl::OkStatus();
  }

  absl::Status Sync() override { return SyncData(fd_.get(), path_); }

 protected:
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

 private:
  // A write that failed may have written some.
  void NoteSize() {
    struct stat info;
    if (fstat(fd_.get(), &info) == 0) size_bytes_ = static_cast<uint64_t>(info.st_size);
  }

  Descriptor fd_;
  std::string path_;
  uint64_t size_bytes_;
};

// Writes whole blocks past the page cache; where that is refused, through it and
// out of it again.
class HostBlockFile : public HostFile {
 public:
  HostBlockFile(Descriptor fd, std::string path, uint64_t size_bytes, bool direct)
      : HostFile(std::move(fd), std::move(path), size_bytes), direct_(direct) {}

  absl::Status Append(absl::string_view) override {
    return absl::InternalError(absl::StrCat(path(), " has a fixed size"));
  }

  absl::Status WriteAt(uint64_t offset, absl::Span<const uint8_t> bytes) override {
    SLUICE_CHECK(offset % kBlockBytes == 0 && bytes.size() % kBlockBytes == 0);
    SLUICE_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % kBlockBytes == 0);
    const absl::Status status = HostFile::WriteAt(offset, bytes);
    if (direct_ && absl::IsInvalidArgument(status)) {
      direct_ = false;
      BypassCache(fd(), false);
      return WriteAt(offset, bytes);
    }
    if (!direct_) StartWriteOut(fd(), offset, bytes.size());
    return status;
  }

  absl::StatusOr<std::string> ReadAt(uint64_t offset, uint64_t bytes) const override {
    if (!direct_) return HostFile::ReadAt(offset, bytes);
    if (offset >= size_bytes()) return std::string();
    bytes = std::min(bytes, size_bytes() - offset);
    const uint64_t begin = AlignDown(offset, kBlockBytes);
    const uint64_t end = AlignUp(offset + bytes, kBlockBytes);
    ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::Create(end - begin));
    char* const data = reinterpret_cast<char*>(buffer.data());
    ASSIGN_OR_RETURN(const uint64_t got, ReadFully(fd(), begin, data, end - begin, path()));
    const uint64_t skipped = std::min(offset - begin, got);
    return std::string(data + skipped, std::min(bytes, got - skipped));
  }

  absl::Status Sync() override {
    RETURN_IF_ERROR(HostFile::Sync());
    if (!direct_) ForgetCached(fd());
    return absl::OkStatus();
  }

 private:
  bool direct_;
};

absl::Status CheckRoom(int fd, const std::string& path, uint64_t bytes, uint64_t reserved_bytes) {
  if (reserved_bytes >= bytes) return absl::OkStatus();
  const uint64_t needed_bytes = bytes - reserved_bytes;
  ASSIGN_OR_RETURN(const uint64_t free_bytes, FreeBytes(fd, path));
  if (needed_bytes <= free_bytes) return absl::OkStatus();
  constexpr double kMib = 1 << 20;
  return absl::ResourceExhaustedError(
      absl::StrFormat("%s needs %.1f MiB more and the file system has %.1f MiB left; free some space there, ask for "
                      "less, or name a place on another drive",
                      path, static_cast<double>(needed_bytes) / kMib, static_cast<double>(free_bytes) / kMib));
}

class HostLock : public FileLock {
 public:
  explicit HostLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  Descriptor fd_;  // closing it gives the lock back
};

// Whether `path` is still the name of what was opened: the holder before may
// have removed it together with its folder.
bool StillNames(const std::string& path, int fd) {
  struct stat named, opened;
  return stat(path.c_str(), &named) == 0 && fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
         named.st_ino == opened.st_ino;
}

absl::Status TakeLock(int fd, const std::string& path) {
  ASSIGN_OR_RETURN(const bool taken, TryLock(fd, path));
  if (taken) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("another process holds ", path, "; wait until it ends, end it, or use another output"));
}

class Host : public DurableFiles {
 public:
  absl::StatusOr<bool> Exists(const std::string& path) override {
    struct stat info;
    if (stat(path.c_str(), &info) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return FileError("look for", path);
  }

  absl::StatusOr<std::unique_ptr<const DurableFile>> OpenRead(const std::string& path) override {
    ASSIGN_OR_RETURN(Descriptor fd, OpenWith(O_RDONLY, path));
    ASSIGN_OR_RETURN(const struct stat info, StatOrdinary(fd.get(), path));
    return std::make_unique<const HostFile>(std::move(fd), path, static_cast<uint64_t>(info.st_size));
  }

  absl::StatusOr<std::unique_ptr<DurableFile>> OpenAppend(const std::string& path) override {
    ASSIGN_OR_RETURN(Descriptor fd, OpenOrCreate(path));
    ASSIGN_OR_RETURN(const struct stat info, StatOrdinary(fd.get(), path));
    return std::make_unique<HostFile>(std::move(fd), path, static_cast<uint64_t>(info.st_size));
  }

  absl::StatusOr<std::unique_ptr<DurableFile>> OpenBlocks(const std::string& path, uint64_t bytes) override {
    SLUICE_CHECK(bytes % kBlockBytes == 0);
    ASSIGN_OR_RETURN(Descriptor fd, OpenOrCreate(path));
    ASSIGN_OR_RETURN(const struct stat info, StatOrdinary(fd.get(), path));
    constexpr uint64_t kStatUnit = 512;
    RETURN_IF_ERROR(CheckRoom(fd.get(), path, bytes, static_cast<uint64_t>(info.st_blocks) * kStatUnit));
    RETURN_IF_ERROR(ReserveSpace(fd.get(), static_cast<uint64_t>(info.st_size), bytes, path));
    const bool direct = BypassCache(fd.get(), true);
    return std::make_unique<HostBlockFile>(std::move(fd), path, bytes, direct);
  }

  absl::Status CreateFolder(const std::string& path) override {
    if (mkdir(path.c_str(), 0755) == 0) return absl::OkStatus();
    if (errno != EEXIST) return FileError("create the folder", path);
    struct stat info;
    if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(path, " is a file where a folder is needed; move it away"));
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    return std::rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus() : FileError("rename " + from + " to", to);
  }

  absl::Status Remove(const std::string& path) override {
    return std::remove(path.c_str()) == 0 || errno == ENOENT ? absl::OkStatus() : FileError("remove", path);
  }

  absl::Status SyncFolder(const std::string& path) override { return sluice::SyncFolder(path); }

  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    constexpr int kTries = 10;
    for (int i = 0; i < kTries; ++i) {
      ASSIGN_OR_RETURN(Descriptor fd, OpenOrCreate(path));
      RETURN_IF_ERROR(TakeLock(fd.get(), path));
      if (StillNames(path, fd.get())) return std::make_unique<HostLock>(std::move(fd));
    }
    return absl::FailedPreconditionError(absl::StrCat("another process keeps removing ", path, "; end it first"));
  }

  absl::StatusOr<bool> IsLocked(const std::string& path) override {
    const absl::StatusOr<Descriptor> fd = OpenWith(O_RDONLY, path);
    if (absl::IsNotFound(fd.status())) return false;
    RETURN_IF_ERROR(fd.status());
    return IsLockedByOther(fd->get(), path);
  }
};

}  // namespace

std::unique_ptr<DurableFiles> HostFiles() { return std::make_unique<Host>(); }

}  // namespace sluice
