// A reader that fails on purpose, the same way every time.
//
// Wraps another reader and follows a script: errors, short reads, completions
// held back and released out of order, a drive that stalls. Delays are counted
// in reads or end by a call, never by time. The order in which the wrapped reader completes is its own.
#ifndef SLUICE_STORAGE_FAULTY_BLOCK_READER_H_
#define SLUICE_STORAGE_FAULTY_BLOCK_READER_H_

#include <atomic>
#include <cerrno>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "storage/forwarding_block_reader.h"

namespace sluice {

// Reads, submits and reaps are numbered from 1; number 0 means never.
struct FaultScript {
  uint64_t seed = 1;
  // The read with this number fails with `error`; a persistent fault stays with
  // its place in the file, so that every later read from there fails too.
  uint64_t fail_read = 0;
  bool persistent = false;
  int error = EIO;
  // Every so many reads one returns a part of what it read, not even a whole
  // number of blocks, and spoils the rest of its destination.
  uint64_t shorten_every = 0;
  // Completions are held back until this many wait or nothing else is in
  // flight, then some of them are released in random order. 0: no reordering.
  size_t hold_back = 0;
  // Nothing completes from this read on until EndStall; earlier ones in flight
  // are held back too.
  uint64_t stall_read = 0;
  // From this call on Submit or Reap fails as if the reader were broken.
  uint64_t break_submit = 0;
  uint64_t break_reap = 0;
};

class FaultyBlockReader final : public ForwardingBlockReader {
 public:
  FaultyBlockReader(std::unique_ptr<BlockReader> reader, const FaultScript& script);

  absl::Status Submit(absl::Span<const BlockRead> reads) override;
  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override;

  // The drive goes on, for good. Any thread.
  void EndStall();

  // What has happened so far; any thread.
  uint64_t reads() const { return reads_.load(std::memory_order_relaxed); }
  uint64_t errors() const { return errors_.load(std::memory_order_relaxed); }
  uint64_t shortened() const { return shortened_.load(std::memory_order_relaxed); }
  // Reads under way on a drive that stalls.
  size_t stalled_reads() const { return stalled_reads_.load(std::memory_order_relaxed); }
  uint64_t reordered() const { return reordered_.load(std::memory_order_relaxed); }
  // Where the read `fail_read` lay; valid once errors() > 0.
  int failed_file() const { return failed_file_.load(std::memory_order_relaxed); }
  uint64_t failed_offset() const { return failed_offset_.load(std::memory_order_relaxed); }

 private:
  struct Flying {
    BlockRead read;
    uint64_t number;
  };

  bool Stalls() const { return script_.stall_read != 0 && reads() >= script_.stall_read && !stall_ended_.load(); }
  bool Fails(const Flying& flying);
  // What the user is told of a completed read.
  BlockCompletion Spoil(const Flying& flying, int32_t result);
  size_t Release(absl::Span<BlockCompletion> out);

  const FaultScript script_;
  std::mt19937_64 random_;
  absl::flat_hash_map<uint64_t, Flying> flying_;  // by tag
  std::vector<BlockCompletion> held_;
  std::vector<BlockCompletion> arrivals_;
  uint64_t submits_ = 0;
  uint64_t reaps_ = 0;
  std::atomic<bool> stall_ended_{false};
  std::atomic<size_t> stalled_reads_{0};
  std::atomic<uint64_t> reads_{0};
  std::atomic<uint64_t> errors_{0};
  std::atomic<uint64_t> shortened_{0};
  std::atomic<uint64_t> reordered_{0};
  std::atomic<int> failed_file_{-1};
  std::atomic<uint64_t> failed_offset_{0};
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_FAULTY_BLOCK_READER_H_
