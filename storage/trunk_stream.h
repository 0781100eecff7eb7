// The trunk and the head, in the fixed order in which a sweep uses them.
//
// A sequence of pieces, each a record hardly larger than one expert. The first
// pieces as far as the plan reaches are pinned: loaded once at start. The rest
// stream through a few slots with perfect look-ahead: as soon as a piece is
// released the read of the next one not yet under way is queued, across the end
// of a sweep into the start of the next. One consumer thread.
#ifndef SLUICE_STORAGE_TRUNK_STREAM_H_
#define SLUICE_STORAGE_TRUNK_STREAM_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/record.h"
#include "storage/record_loader.h"

namespace sluice {

class TrunkStream {
 public:
  struct Options {
    std::vector<Record> pieces;  // in order of use; [head_begin, end) is the head
    size_t head_begin = 0;
    std::vector<bool> pinned;  // one per piece
    int stream_slots = 2;      // at least 2 unless all is pinned
    // Raised: Next waits no longer, however long the drive takes.
    const std::atomic<bool>* stop = nullptr;
  };

  // Allocates pinned memory and stream slots at once; none when files are mapped.
  // The loader must outlive the stream.
  static absl::StatusOr<std::unique_ptr<TrunkStream>> Create(Options options, RecordLoader* loader);
  ~TrunkStream();

  // Reads the pinned pieces; `progress(done_bytes, total_bytes)` is called as they land.
  absl::Status LoadPinned(const std::function<void(uint64_t, uint64_t)>& progress);

  // Starts a sweep, which uses all pieces in order, the head's only with_head.
  // The last sweep must have been used up, or ended by Cancel.
  void BeginSweep(bool with_head);
  // The next piece: releases the one before, waits until this one is resident.
  // Valid until the next call. A failed read ends the sweep with its Status, a
  // raised stop flag with a Cancelled one.
  absl::Status Next();
  // Index in Options::pieces of the current piece.
  size_t current() const;
  const uint8_t* slice(size_t index) const;
  // Slice `index` of any piece that is always in memory; null of one that streams.
  const uint8_t* pinned_slice(size_t piece, size_t index) const;
  // The same where it is our own memory, to be put into an order of the consumer's.
  uint8_t* mutable_pinned_slice(size_t piece, size_t index);
  // Forgets the sweep, e.g. after an error; waits for reads in flight.
  void Cancel();

  int64_t stall_ns() const;
  // Memory that pinned pieces take.
  uint64_t pinned_bytes() const;
  // What a sweep with the head reads.
  uint64_t streamed_bytes_per_sweep() const;
  // Of the streamed pieces used so far.
  uint64_t streamed_bytes() const;
  // Where the pieces lie, for RecordLoader::RegisterMemory.
  std::vector<absl::Span<uint8_t>> memory_regions();

 private:
  class Impl;
  explicit TrunkStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_TRUNK_STREAM_H_
