// A file that appears whole or not at all.
//
// Owns a descriptor of PATH.partial. Commit syncs it and gives it its name; a
// writer that is destroyed before removes it. What another process finds under
// PATH is the old file or the whole new one. One thread.
#ifndef SLUICE_STORAGE_FILE_WRITER_H_
#define SLUICE_STORAGE_FILE_WRITER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

class FileWriter {
 public:
  // Refuses a path under which something other than an ordinary file lies.
  static absl::StatusOr<FileWriter> Create(const std::string& path);
  // As Create, but what is no ordinary file, e.g. /dev/null, is written in place.
  static absl::StatusOr<FileWriter> CreateOrOpen(const std::string& path);

  FileWriter() = default;
  FileWriter(FileWriter&& other) noexcept { *this = std::move(other); }
  FileWriter& operator=(FileWriter&& other) noexcept;
  ~FileWriter();

  // Where the bytes lie until Commit: what is written in place has no other name.
  const std::string& partial_path() const { return partial_path_; }

  // Writes all of `bytes` at `offset`. Long runs of writes do not fill the page
  // cache where the host can help it.
  absl::Status Write(uint64_t offset, absl::string_view bytes);
  // Writes behind what was written before.
  absl::Status Append(absl::string_view bytes);
  // Makes the file `bytes` long; what was never written reads as zeros.
  absl::Status Resize(uint64_t bytes);

  // Whether ranges can share their extents (Linux: reflinks of XFS, btrfs). Tries
  // it, on a file that must still be empty and is empty again afterwards.
  absl::StatusOr<bool> CanClone();
  // Makes `bytes` at `to` share the extents of those at `from`; all multiples of
  // kCloneAlignment, within the file's length.
  absl::Status Clone(uint64_t from, uint64_t to, uint64_t bytes);
  static constexpr uint64_t kCloneAlignment = 4096;

  // What the file system has left for this user.
  absl::StatusOr<uint64_t> FreeBytes() const;

  // Syncs file and folder and gives the file its name. Nothing may follow.
  absl::Status Commit();

 private:
  // Defined once per host: file_writer_linux.cc or file_writer_posix.cc.
  absl::Status CloneRange(uint64_t from, uint64_t to, uint64_t bytes);
  // Starts writing a range out and lets go of what was written out before.
  void WriteBack(uint64_t offset, uint64_t bytes);

  absl::Status Open(int flags);
  bool in_place() const { return partial_path_ == path_; }
  absl::Status Failed(absl::string_view what) const;
  void Discard();

  int fd_ = -1;
  std::string path_;
  std::string partial_path_;
  uint64_t end_bytes_ = 0;  // where Append goes on
  // The range whose write-out was started last.
  uint64_t pending_offset_ = 0;
  uint64_t pending_bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_FILE_WRITER_H_
