// Files mapped read-only, for models that fit in memory: users take the bytes in
// place. Submit copies, so that code which knows nothing of maps works too. A
// file that shrinks while it is mapped ends the process with SIGBUS.
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/status.h"
#include "storage/block_reader_backends.h"

namespace sluice {
namespace {

class FileMap {
 public:
  static absl::StatusOr<FileMap> Open(const std::string& path);
  FileMap() = default;
  FileMap(FileMap&& other) noexcept { std::swap(data_, other.data_), std::swap(bytes_, other.bytes_); }
  FileMap& operator=(FileMap&&) = delete;
  ~FileMap() {
    if (bytes_ > 0) munmap(const_cast<uint8_t*>(data_), bytes_);
  }
  const uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  static constexpr uint8_t kNothing = 0;
  const uint8_t* data_ = &kNothing;  // never null, even of an empty file
  uint64_t bytes_ = 0;
};

absl::StatusOr<FileMap> FileMap::Open(const std::string& path) {
  ASSIGN_OR_RETURN(DirectFile file, DirectFile::OpenBuffered(path));
  struct stat info;
  if (fstat(file.fd(), &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  FileMap map;
  if (info.st_size == 0) return map;
  const uint64_t bytes = static_cast<uint64_t>(info.st_size);
  void* data = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.fd(), 0);
  if (data == MAP_FAILED) return absl::ErrnoToStatus(errno, absl::StrCat("cannot map ", path));
  map.data_ = static_cast<const uint8_t*>(data);
  map.bytes_ = bytes;
  return map;
}

class MmapReader final : public BlockReader {
 public:
  MmapReader(std::vector<FileMap> maps, int capacity) : maps_(std::move(maps)), capacity_(capacity) {
    done_.reserve(capacity);
  }

  absl::string_view name() const override { return "mmap"; }
  bool direct_io() const override { return false; }
  uint32_t alignment_bytes() const override { return 4096; }
  int capacity() const override { return capacity_; }
  absl::Status Submit(absl::Span<const BlockRead> reads) override;
  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override;
  void Wake() override;
  const uint8_t* Mapped(int file) const override { return maps_[file].data(); }

 private:
  const std::vector<FileMap> maps_;
  const int capacity_;
  std::vector<BlockCompletion> done_;  // the owner's alone
  Mutex mutex_;
  CondVar news_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
};

absl::Status MmapReader::Submit(absl::Span<const BlockRead> reads) {
  for (const BlockRead& read : reads) {
    const FileMap& map = maps_[read.file];
    const uint64_t left = map.bytes() - std::min(map.bytes(), read.offset);
    const uint32_t bytes = static_cast<uint32_t>(std::min<uint64_t>(left, read.bytes));
    if (bytes > 0) std::memcpy(read.destination, map.data() + read.offset, bytes);
    done_.push_back({read.tag, static_cast<int32_t>(bytes)});
  }
  SLUICE_CHECK(done_.size() <= static_cast<size_t>(capacity_));
  return absl::OkStatus();
}

absl::StatusOr<size_t> MmapReader::Reap(absl::Span<BlockCompletion> out) {
  MutexLock lock(&mutex_);
  while (done_.empty() && !woken_) news_.Wait(&mutex_);
  woken_ = false;
  const size_t count = std::min(out.size(), done_.size());
  std::copy_n(done_.begin(), count, out.begin());
  done_.erase(done_.begin(), done_.begin() + static_cast<ptrdiff_t>(count));
  return count;
}

void MmapReader::Wake() {
  MutexLock lock(&mutex_);
  woken_ = true;
  news_.NotifyOne();
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlockReader>> OpenMmapReader(const std::vector<std::string>& paths, int capacity) {
  std::vector<FileMap> maps;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(FileMap map, FileMap::Open(path));
    maps.push_back(std::move(map));
  }
  return std::make_unique<MmapReader>(std::move(maps), capacity);
}

}  // namespace sluice
