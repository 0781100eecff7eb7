// The one narrow interface to the disk: submit reads, reap completions.
//
// Implementations: io_uring (block_reader_uring_linux.cc), a pread thread pool
// (block_reader_pread.cc; the reference, and macOS), mmap
// (block_reader_mmap.cc) and a fake that fails on purpose (faulty_block_reader.h).
// One thread owns a reader: Submit and Reap are called by it alone. Wake may be
// called by any thread.
#ifndef SLUICE_STORAGE_BLOCK_READER_H_
#define SLUICE_STORAGE_BLOCK_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice {

struct BlockRead {
  int file;           // index into the paths the reader was opened with
  uint64_t offset;    // multiple of alignment_bytes()
  uint32_t bytes;     // multiple of alignment_bytes(); may pass the end of the file
  void* destination;  // aligned to alignment_bytes()
  uint64_t tag;       // returned with the completion; distinct in flight, not UINT64_MAX
};

struct BlockCompletion {
  uint64_t tag;
  int32_t result;  // bytes read, possibly fewer than asked for; or -errno
};

class BlockReader {
 public:
  virtual ~BlockReader() = default;

  // "uring", "pread" or "mmap".
  virtual absl::string_view name() const = 0;
  // True when no read goes through the page cache.
  virtual bool direct_io() const = 0;
  // What offsets, lengths and destinations must be multiples of.
  virtual uint32_t alignment_bytes() const = 0;
  // Reads that may be in flight at once.
  virtual int capacity() const = 0;

  // Starts all `reads`; their number plus those in flight is at most capacity().
  // After an error, here or in Reap, the reader is broken: give up and destroy it.
  virtual absl::Status Submit(absl::Span<const BlockRead> reads) = 0;
  // Blocks until a read completes or Wake is called; returns how many
  // completions were written to `out` (0 after a Wake).
  virtual absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) = 0;
  // Ends one blocked Reap, now or at its next call.
  virtual void Wake() = 0;

  // Memory that destinations will lie in, for registration, in place of what was
  // registered before; a hint that may fail silently (an ordinary user may lock
  // only 8 MiB). The owner's call. The memory must stay mapped as it is until
  // other regions, or none, are registered or the reader is destroyed.
  virtual void RegisterMemory(absl::Span<const absl::Span<uint8_t>> /*regions*/) {}

  // The start of `file` in memory when the reader maps files; else null. Users
  // then take the bytes in place and never call Submit.
  virtual const uint8_t* Mapped(int /*file*/) const { return nullptr; }
};

enum class IoBackend { kAuto, kUring, kPread, kMmap };

// "auto" takes io_uring where it works and pread elsewhere. `capacity` bounds
// the reads in flight.
absl::StatusOr<std::unique_ptr<BlockReader>> OpenBlockReader(IoBackend backend, const std::vector<std::string>& paths,
                                                             int capacity);

}  // namespace sluice

#endif  // SLUICE_STORAGE_BLOCK_READER_H_
