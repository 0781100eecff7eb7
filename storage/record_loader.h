// The I/O thread: turns records into reads and keeps the drive busy.
//
// Owns the BlockReader and the one thread that submits and reaps, so that reads
// are issued and completed while other threads compute. Records are cut into
// chunks; demand goes before stream, stream before prefetch. A short read
// continues from the aligned block it stopped in; an error is retried a bounded
// number of times and then reported with file and offset.
#ifndef SLUICE_STORAGE_RECORD_LOADER_H_
#define SLUICE_STORAGE_RECORD_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/block_reader.h"
#include "storage/record.h"

namespace sluice {

enum class LoadPriority { kDemand = 0, kStream = 1, kPrefetch = 2 };

// Receives completions on the I/O thread, with no lock of the loader held. May
// call Load. Each Load is answered exactly once.
class LoadSink {
 public:
  virtual ~LoadSink() = default;
  virtual void OnLoaded(uint64_t token, absl::Status status) = 0;
};

struct IoCounters {
  uint64_t bytes_read = 0;  // as the device served them
  uint64_t reads = 0;       // completed block reads
  uint64_t retries = 0;
  int64_t busy_ns = 0;                    // time with at least one read in flight that is no prefetch, up to now
  int64_t asked_ns = 0;                   // busy_ns, and the time in which such reads waited and none was in flight
  int64_t prefetch_only_ns = 0;           // time with prefetches in flight and nothing else
  uint64_t prefetch_bytes = 0;            // served to prefetches while nobody waited for them
  uint64_t prefetch_bytes_in_flight = 0;  // of prefetches that nobody waits for, at this moment
};

class RecordLoader {
 public:
  struct Options {
    uint32_t chunk_bytes = 1 << 20;  // rounded to the reader's alignment
    int depth = 16;                  // chunks in flight, at most the reader's capacity
    int max_retries = 3;             // per chunk
    // Chunks of a prefetch in flight: what demand may have to wait for. Four of
    // a megabyte keep most drives busy.
    int prefetch_depth = 4;
    // The first so many files have copies, which are the next so many, and reads
    // are spread over both by measured speed. A read that fails is tried again on
    // the other copy. Files behind those have none.
    size_t mirrored_files = 0;
  };

  static constexpr uint64_t kGrows = UINT64_MAX;

  // `paths` are those the reader was opened with, for messages; `file_sizes`
  // tell where a superset may end early; kGrows of a file that is still written.
  static std::unique_ptr<RecordLoader> Start(std::unique_ptr<BlockReader> reader, std::vector<std::string> paths,
                                             std::vector<uint64_t> file_sizes, const Options& options);
  // Drops what was queued, waits for what is in flight, joins the thread. The
  // sinks of both are told; what was dropped ends as Cancelled.
  ~RecordLoader();

  // Queues a load of `record` to `slot` (aligned to alignment_bytes(), SlotBytes
  // long). `record`, `slot` and `sink` must live until OnLoaded(token). Any thread.
  // When files are mapped `slot` may be null: nothing is copied then.
  void Load(const Record* record, uint8_t* slot, LoadPriority priority, LoadSink* sink, uint64_t token);

  // Ends the loads of `sink` that have not begun as Cancelled, on the I/O
  // thread; those that have begun go on to their end. Any thread.
  void Discard(const LoadSink* sink);

  // For the load of kPrefetch with this token, of which there is at most one at a
  // time; does nothing when it has ended. Any thread.
  // Hurry: it becomes as urgent as demand. Abandon: no more of it is read, and it
  // ends as Cancelled unless all of it is under way already.
  void Hurry(uint64_t token);
  void Abandon(uint64_t token);

  // Tells the reader where slots lie (BlockReader::RegisterMemory), in place of
  // the regions told before. Returns at once; the I/O thread does it before its
  // next reads. Any thread.
  void RegisterMemory(std::vector<absl::Span<uint8_t>> regions);

  // Loads one record and waits for it. Not from the I/O thread.
  absl::Status LoadNow(const Record& record, uint8_t* slot);

  IoCounters counters() const;
  const BlockReader& reader() const;
  uint32_t alignment_bytes() const { return reader().alignment_bytes(); }
  // Non-null when files are mapped: use the bytes in place.
  const uint8_t* Mapped(const Slice& slice) const;

 private:
  class Impl;
  explicit RecordLoader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_RECORD_LOADER_H_
