// What a job that must survive a power cut needs of the file system.
//
// One narrow interface, as block_reader.h is for reads: the host's own
// (HostFiles), and one in the tests that loses, tears and reorders whatever was
// not synced. Bytes written are safe after Sync of their file; a file created,
// renamed or removed is so after SyncFolder of its folder. Errors name the path.
// One thread per object.
#ifndef SLUICE_STORAGE_DURABLE_FILES_H_
#define SLUICE_STORAGE_DURABLE_FILES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice {

class DurableFile {
 public:
  virtual ~DurableFile() = default;
  virtual uint64_t size_bytes() const = 0;
  // All of `bytes` behind the file's end, or an error after which the tail is
  // whatever it is: Truncate to the size before, or give the file up.
  virtual absl::Status Append(absl::string_view bytes) = 0;
  // Within the size. Of a block file: offset, length and address are multiples of 4096.
  virtual absl::Status WriteAt(uint64_t offset, absl::Span<const uint8_t> bytes) = 0;
  // As many bytes as there are, up to `bytes`.
  virtual absl::StatusOr<std::string> ReadAt(uint64_t offset, uint64_t bytes) const = 0;
  virtual absl::Status Truncate(uint64_t bytes) = 0;
  // Everything written is on the medium (F_FULLFSYNC on macOS).
  virtual absl::Status Sync() = 0;
};

// Held by one process at a time, given back when destroyed or when the process ends.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

class DurableFiles {
 public:
  virtual ~DurableFiles() = default;
  virtual absl::StatusOr<bool> Exists(const std::string& path) = 0;
  // Opens a file that must exist, and changes nothing.
  virtual absl::StatusOr<std::unique_ptr<const DurableFile>> OpenRead(const std::string& path) = 0;
  // Opens a file for appending, created empty when absent.
  virtual absl::StatusOr<std::unique_ptr<DurableFile>> OpenAppend(const std::string& path) = 0;
  // Opens a file of exactly `bytes` whose space is reserved (a full disk is said
  // here, not later) and whose writes bypass the page cache where the host can.
  // Content that lies within is kept.
  virtual absl::StatusOr<std::unique_ptr<DurableFile>> OpenBlocks(const std::string& path, uint64_t bytes) = 0;
  virtual absl::Status CreateFolder(const std::string& path) = 0;  // fine when it is there
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;  // a file or an empty folder; fine when absent
  virtual absl::Status SyncFolder(const std::string& path) = 0;
  // FailedPrecondition naming `path` when another process holds it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  // Whether anybody holds it; asking is in nobody's way. Not when it is absent.
  virtual absl::StatusOr<bool> IsLocked(const std::string& path) = 0;
};

// The host's.
std::unique_ptr<DurableFiles> HostFiles();

}  // namespace sluice

#endif  // SLUICE_STORAGE_DURABLE_FILES_H_
