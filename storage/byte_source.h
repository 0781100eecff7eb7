// Where header bytes come from: a file on disk, or memory.
//
// FileByteSource owns a descriptor and refuses anything but a regular file.
// MemoryByteSource borrows bytes that must outlive it. Neither keeps a cache.
#ifndef SLUICE_STORAGE_BYTE_SOURCE_H_
#define SLUICE_STORAGE_BYTE_SOURCE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/gguf.h"

namespace sluice {

class FileByteSource : public ByteSource {
 public:
  // NotFound when there is no such file, FailedPrecondition when it cannot be
  // opened or is a folder, a pipe or a device.
  static absl::StatusOr<std::unique_ptr<FileByteSource>> Open(const std::string& path);

  ~FileByteSource() override;
  FileByteSource(const FileByteSource&) = delete;
  FileByteSource& operator=(const FileByteSource&) = delete;

  uint64_t size_bytes() const override { return size_bytes_; }
  absl::Status Read(uint64_t offset, size_t length, void* out) override;

 private:
  FileByteSource(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  absl::Status FindSize();

  const std::string path_;
  const int descriptor_;
  uint64_t size_bytes_ = 0;
};

class MemoryByteSource : public ByteSource {
 public:
  explicit MemoryByteSource(absl::string_view bytes) : bytes_(bytes) {}

  uint64_t size_bytes() const override { return bytes_.size(); }
  absl::Status Read(uint64_t offset, size_t length, void* out) override;

 private:
  const absl::string_view bytes_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_BYTE_SOURCE_H_
