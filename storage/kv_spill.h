// Blocks of keys and values on the drive, [layer][block], read a layer ahead.
//
// Every layer has room for the same blocks, one after the other in the file, each
// at a multiple of 4096 bytes and of the reader's alignment. Memory holds two
// layers of them: a layer's places are those of the layer two before it. What a
// block holds, and for whom, is the caller's business. Reads go through the
// engine's loader, which sees the file as one of its own; writes through a
// DurableFile. One caller thread.
#ifndef SLUICE_STORAGE_KV_SPILL_H_
#define SLUICE_STORAGE_KV_SPILL_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/aligned_buffer.h"
#include "base/mutex.h"
#include "base/stop_flag.h"
#include "storage/durable_files.h"
#include "storage/record_loader.h"

namespace sluice {

struct KvBlockChecksum {
  int32_t block = 0;
  uint64_t checksum = 0;
};

class KvSpill final : public LoadSink {
 public:
  struct Shape {
    int layers = 0;
    int64_t blocks = 0;        // of each layer
    uint64_t block_bytes = 0;  // that count, of each block
    uint32_t alignment = 4096;
  };
  // Where the blocks lie.
  struct Source {
    RecordLoader* loader = nullptr;           // outlives the spill
    int file = 0;                             // of the loader
    std::unique_ptr<DurableFile> writer;      // the same file, FileBytes long
    const std::atomic<bool>* stop = nullptr;  // raised: Await waits no longer
  };

  // The largest uint64_t when it does not fit one.
  static uint64_t FileBytes(const Shape& shape);
  static uint64_t MemoryBytes(const Shape& shape);
  static absl::StatusOr<std::unique_ptr<KvSpill>> Create(const Shape& shape, Source source);
  ~KvSpill() override { Cancel(); }

  // Where a block of a layer lies in memory, until a layer of the same parity is read.
  uint8_t* Place(int layer, int64_t block) {
    return memory_.data() + (layer % 2 * shape_.blocks + block) * static_cast<int64_t>(place_bytes_);
  }
  // Queues reads of the blocks marked in `wanted` to their places in `layer`. The
  // layer of the same parity before it has been awaited.
  void Read(int layer, absl::Span<const uint8_t> wanted);
  // Waits until what was queued for `layer` is there.
  absl::Status Await(int layer);
  // Writes `blocks`, ascending, from their places in `layer`. Layers come in order:
  // each adds to the blocks' checksums.
  absl::Status Write(int layer, absl::Span<const int32_t> blocks);
  // Forgets what was queued; waits for reads in flight.
  void Cancel();

  // XXH3-64 of a block's bytes in one layer, seeded with that of the layers before.
  static uint64_t ChainedChecksum(uint64_t before, absl::Span<const uint8_t> bytes);
  uint64_t checksum(int32_t block) const { return checksums_[block]; }
  // Reads blocks in all layers; DataLoss unless they are what their checksums say.
  absl::Status Verify(absl::Span<const KvBlockChecksum> blocks);
  // All that was written is on the medium.
  absl::Status Sync() { return writes_->Sync(); }

  // Of a block in the file.
  uint64_t place_bytes() const { return place_bytes_; }
  int64_t stall_ns() const { return stall_ns_; }  // waiting for reads and writes
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t bytes_written() const { return bytes_written_; }
  // What was allocated.
  uint64_t memory_bytes() const;
  // Where reads go, for RecordLoader::RegisterMemory.
  absl::Span<uint8_t> memory_region() { return {memory_.data(), memory_.size_bytes()}; }

  void OnLoaded(uint64_t token, absl::Status status) override;

 private:
  // Reads of one of the two layers in memory.
  struct Landing {
    int loading = 0;
    absl::Status status;
  };

  KvSpill(const Shape& shape, Source source);
  uint64_t FileOffset(int layer, int64_t block) const { return (layer * shape_.blocks + block) * place_bytes_; }
  int loading() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return landings_[0].loading + landings_[1].loading; }
  void ReadRun(int layer, int64_t begin, int64_t end, Record* record);
  absl::Status WriteRun(int layer, absl::Span<const int32_t> blocks);
  // Checksums of blocks as they are on the drive.
  absl::Status ReadChecksums(absl::Span<const uint8_t> wanted, absl::Span<const KvBlockChecksum> blocks,
                             absl::Span<uint64_t> found);
  void AddToChecksums(int layer, absl::Span<const int32_t> blocks);

  const Shape shape_;
  const uint64_t place_bytes_;
  RecordLoader* const loader_;
  const int file_;
  const std::unique_ptr<DurableFile> writes_;
  const StopFlag stop_;

  AlignedBuffer memory_;                        // [2][blocks]
  std::array<std::vector<Record>, 2> records_;  // by parity of the layer; runs of blocks being read
  std::vector<uint64_t> checksums_;             // by block
  int64_t stall_ns_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t bytes_written_ = 0;

  Mutex mutex_;
  CondVar news_;
  std::array<Landing, 2> landings_ ABSL_GUARDED_BY(mutex_);  // by parity of the layer
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_KV_SPILL_H_
