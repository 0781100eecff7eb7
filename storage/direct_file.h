// A file opened for reads that bypass the page cache where the host allows it.
//
// Owns one descriptor. On file systems that refuse direct reads (tmpfs) the
// file is opened for ordinary reads instead and direct() says so.
#ifndef SLUICE_STORAGE_DIRECT_FILE_H_
#define SLUICE_STORAGE_DIRECT_FILE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace sluice {

class DirectFile {
 public:
  // Defined once per host: direct_file_linux.cc or direct_file_posix.cc.
  static absl::StatusOr<DirectFile> Open(const std::string& path);
  // Through the page cache, for mapping.
  static absl::StatusOr<DirectFile> OpenBuffered(const std::string& path);

  DirectFile() = default;
  DirectFile(DirectFile&& other) noexcept { *this = std::move(other); }
  DirectFile& operator=(DirectFile&& other) noexcept;
  ~DirectFile();

  int fd() const { return fd_; }
  bool direct() const { return direct_; }
  // A power of two: what offsets, lengths and destinations must be multiples of.
  uint32_t alignment_bytes() const { return alignment_bytes_; }

 private:
  // `extra_flags` are added to the flags every open has. A status carries the path.
  static absl::StatusOr<DirectFile> OpenWith(const std::string& path, int extra_flags);

  int fd_ = -1;
  bool direct_ = false;
  uint32_t alignment_bytes_ = 4096;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_DIRECT_FILE_H_
