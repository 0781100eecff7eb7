// Files in memory, on a disk that can be full or broken. No folders: they are all
// there.
#ifndef SLUICE_TESTS_STORAGE_MEMORY_FILES_H_
#define SLUICE_TESTS_STORAGE_MEMORY_FILES_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "storage/durable_files.h"

namespace sluice {

class MemoryFiles : public DurableFiles {
 public:
  std::map<std::string, std::shared_ptr<std::string>> files;
  uint64_t space_bytes = std::numeric_limits<uint64_t>::max();  // that appends may still take
  bool sync_fails = false;
  bool folder_sync_fails = false;
  std::function<void()> on_sync;  // a file's, before it is done
  bool truncate_fails = false;

  std::string& bytes(const std::string& path) {
    std::shared_ptr<std::string>& file = files[path];
    if (file == nullptr) file = std::make_shared<std::string>();
    return *file;
  }

  absl::StatusOr<bool> Exists(const std::string& path) override { return files.count(path) != 0; }
  absl::StatusOr<std::unique_ptr<const DurableFile>> OpenRead(const std::string& path) override {
    if (files.count(path) == 0) return absl::NotFoundError(path);
    return std::make_unique<const File>(this, files[path]);
  }
  absl::StatusOr<std::unique_ptr<DurableFile>> OpenAppend(const std::string& path) override {
    bytes(path);
    return std::make_unique<File>(this, files[path]);
  }
  absl::StatusOr<std::unique_ptr<DurableFile>> OpenBlocks(const std::string& path, uint64_t size_bytes) override {
    bytes(path).resize(size_bytes);
    return std::make_unique<File>(this, files[path]);
  }
  absl::Status CreateFolder(const std::string&) override { return absl::OkStatus(); }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (files.count(from) == 0) return absl::NotFoundError(from);
    files[to] = files[from];
    files.erase(from);
    return absl::OkStatus();
  }
  absl::Status Remove(const std::string& path) override {
    files.erase(path);
    return absl::OkStatus();
  }
  absl::Status SyncFolder(const std::string&) override {
    return folder_sync_fails ? absl::UnavailableError("the folder is broken") : absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string&) override { return std::make_unique<FileLock>(); }
  absl::StatusOr<bool> IsLocked(const std::string&) override { return false; }

 private:
  class File : public DurableFile {
   public:
    File(MemoryFiles* disk, std::shared_ptr<std::string> bytes) : disk_(disk), bytes_(std::move(bytes)) {}

    uint64_t size_bytes() const override { return bytes_->size(); }
    absl::Status Append(absl::string_view bytes) override {
      const absl::string_view fits = bytes.substr(0, disk_->space_bytes);
      bytes_->append(fits.data(), fits.size());
      disk_->space_bytes -= fits.size();
      return fits.size() == bytes.size() ? absl::OkStatus() : absl::ResourceExhaustedError("the disk is full");
    }
    absl::Status WriteAt(uint64_t offset, absl::Span<const uint8_t> bytes) override {
      std::copy(bytes.begin(), bytes.end(), bytes_->begin() + static_cast<std::ptrdiff_t>(offset));
      return absl::OkStatus();
    }
    absl::StatusOr<std::string> ReadAt(uint64_t offset, uint64_t bytes) const override {
      return offset < bytes_->size() ? bytes_->substr(offset, bytes) : std::string();
    }
    absl::Status Truncate(uint64_t bytes) override {
      if (disk_->truncate_fails) return absl::UnavailableError("the disk is broken");
      bytes_->resize(bytes);
      return absl::OkStatus();
    }
    absl::Status Sync() override {
      if (disk_->on_sync) disk_->on_sync();
      return disk_->sync_fails ? absl::UnavailableError("the disk is broken") : absl::OkStatus();
    }

   private:
    MemoryFiles* disk_;
    std::shared_ptr<std::string> bytes_;
  };
};

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_MEMORY_FILES_H_
