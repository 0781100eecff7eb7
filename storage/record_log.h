// A file of checksummed records that grows at its end and survives a power cut.
//
// A new log takes the place of the old one when it is sealed: whole or not at
// all. What is appended afterwards is safe after Sync, and what was not synced
// may be lost, torn or out of order after a power cut. Each record tells how far
// the file had been synced when it was written, so a reader knows the two apart:
// bad bytes that were never synced are a torn tail and dropped; bad bytes that
// were are damage and refused. Only damage behind the last record that tells of
// a sync looks like a torn tail. A checksum holds for one place in one log: stale
// bytes of another never pass.
//
//   file    magic 8 | version u32 | 0 u32 | salt u64 | sealed bytes u64 | checksum u64
//   record  payload bytes u32 | type u32 | synced bytes u64 | checksum of the
//           payload u64 | checksum of this header, its place and the salt u64 |
//           payload, padded with zeros to a multiple of 8
//
// Holds at most kBufferBytes and one record. One thread.
#ifndef SLUICE_STORAGE_RECORD_LOG_H_
#define SLUICE_STORAGE_RECORD_LOG_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/durable_files.h"

namespace sluice {

struct RecordLogFormat {
  absl::string_view magic;  // 8 bytes
  uint32_t version = 1;
  absl::string_view name;  // what such a file is, in messages: "a journal"
  std::string cure;        // what to do about one that cannot be read
};

class RecordLog {
 public:
  static constexpr uint64_t kLargestPayloadBytes = 16 << 20;
  static constexpr uint64_t kBufferBytes = 1 << 20;

  // A status from it is told as damage at that record.
  using Visit = absl::FunctionRef<absl::Status(uint32_t type, absl::string_view payload)>;

  // Shows every record of the log at `path`; changes nothing. NotFound when it is absent.
  // Returns the bytes of a torn tail behind them.
  static absl::StatusOr<uint64_t> Read(DurableFiles* files, const std::string& path, const RecordLogFormat& format,
                                       Visit visit);

  // Starts a log as `path`.new.
  static absl::StatusOr<std::unique_ptr<RecordLog>> Create(DurableFiles* files, const std::string& path,
                                                           const RecordLogFormat& format);
  // Makes what was appended safe and gives the log its name. Once. After an error
  // the old log is still there, unless this one has_name: then nothing is known.
  absl::Status Seal();
  bool has_name() const { return has_name_; }

  // At most kLargestPayloadBytes. On an error the record is not in the log; when
  // the disk was full, the log is as sound as before and what it still holds in
  // memory can be synced once there is space.
  absl::Status Append(uint32_t type, absl::string_view payload);
  // After an error of the host's own sync nothing can be known about what was
  // written, and every later call fails.
  absl::Status Sync();

  uint64_t size_bytes() const { return flushed_bytes_ + buffer_.size(); }

 private:
  RecordLog(DurableFiles* files, std::string path, const RecordLogFormat& format, uint64_t salt,
            std::unique_ptr<DurableFile> file);

  absl::Status Flush();

  DurableFiles* files_;
  std::string path_;
  std::string magic_;
  uint32_t version_;
  uint64_t salt_;
  std::unique_ptr<DurableFile> file_;
  std::string buffer_;          // behind flushed_bytes_
  uint64_t flushed_bytes_ = 0;  // the file's sound length
  uint64_t synced_bytes_ = 0;
  bool has_name_ = false;
  absl::Status failed_;  // of a sync
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_RECORD_LOG_H_
