// A file whose writes fail when they are told to.
#ifndef SLUICE_TESTS_STORAGE_FAILING_FILE_H_
#define SLUICE_TESTS_STORAGE_FAILING_FILE_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "storage/durable_files.h"

namespace sluice {

class FailingFile final : public DurableFile {
 public:
  // The *writes_left-th WriteAt from now on fails.
  FailingFile(std::unique_ptr<DurableFile> file, std::atomic<int>* writes_left)
      : file_(std::move(file)), writes_left_(writes_left) {}
  uint64_t size_bytes() const override { return file_->size_bytes(); }
  absl::Status Append(absl::string_view bytes) override { return file_->Append(bytes); }
  absl::Status WriteAt(uint64_t offset, absl::Span<const uint8_t> bytes) override {
    if ((*writes_left_)-- == 1) return absl::ResourceExhaustedError("no space left");
    return file_->WriteAt(offset, bytes);
  }
  absl::StatusOr<std::string> ReadAt(uint64_t offset, uint64_t bytes) const override {
    return file_->ReadAt(offset, bytes);
  }
  absl::Status Truncate(uint64_t bytes) override { return file_->Truncate(bytes); }
  absl::Status Sync() override { return file_->Sync(); }

 private:
  const std::unique_ptr<DurableFile> file_;
  std::atomic<int>* const writes_left_;
};

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_FAILING_FILE_H_
