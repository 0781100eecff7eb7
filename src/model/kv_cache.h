// The keys and values that attention looks back at.
//
// One row of `width` floats per sequence, layer and position, rounded to the
// cache type when written; every reader sees the rounded values, the writing
// sweep's own included. Rows live in blocks of kKvBlockTokens positions, which
// sequences take, share and give back (src/model/kv_blocks.h); a block's place is
// the same in every layer. All memory is allocated at creation. Spilled, full
// blocks live on the drive and two layers of them in memory
// (src/model/spilled_kv.h).
#ifndef SLUICE_SRC_MODEL_KV_CACHE_H_
#define SLUICE_SRC_MODEL_KV_CACHE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/aligned_buffer.h"
#include "compute/kernel_set.h"
#include "src/model/kv_blocks.h"
#include "src/model/kv_rows.h"
#include "src/model/spilled_kv.h"
#include "src/model/sweep.h"
#include "storage/kv_spill.h"

namespace sluice {

// Positions of one sequence that share, free and spill as one.
inline constexpr int64_t kKvBlockTokens = 32;

class KvCache {
 public:
  struct Shape {
    KvType type = KvType::kF16;
    int layers = 0;
    int sequences = 0;
    int64_t context = 0;  // positions of each sequence, at most
    int64_t width = 0;    // floats of a row
    // That all sequences share. 0: enough for every sequence's whole context,
    // which each has from the start.
    int64_t blocks = 0;
    bool spilled = false;       // full blocks live on the drive,
    uint32_t alignment = 4096;  // each at a multiple of this, the reader's
  };

  static uint64_t RowBytes(KvType type, int64_t width) { return KvRows::RowBytes(type, width); }
  // Blocks that hold so many positions.
  static int64_t BlocksFor(int64_t positions);
  // Memory, tables included; the largest uint64_t when it does not fit one.
  static uint64_t TotalBytes(const Shape& shape);
  // Of the rows alone, in whole blocks, wherever they lie.
  static uint64_t RowsBytes(const Shape& shape);
  // Of the spill's file; 0 when there is none.
  static uint64_t SpillBytes(const Shape& shape);
  // `spill` says where the file is that a spilled cache needs.
  static absl::StatusOr<KvCache> Create(const Shape& shape, const VectorOps* ops, KvSpill::Source spill = {});

  int64_t free_blocks() const { return blocks_.free_blocks(); }
  bool IsFree(int32_t block) const { return blocks_.IsFree(block); }
  // Gives an empty sequence room for `positions` tokens; its first blocks are
  // `shared`, full ones that other sequences hold now. They may be filled in the
  // very sweep in which this sequence first looks at them; until then their owner
  // stays. False, and nothing changed, when too few blocks are free.
  bool Reserve(int sequence, int64_t positions, absl::Span<const int32_t> shared = {});
  // Blocks that no other sequence holds are free again.
  void Release(int sequence);
  // For resuming from a spill: as Reserve, but the first blocks are `blocks`, which
  // VerifySpill has found sound; free, or adopted by other sequences. False, and
  // nothing changed, too, when one of them has been taken by another sequence.
  bool Adopt(int sequence, int64_t positions, absl::Span<const int32_t> blocks);
  // In order of positions.
  absl::Span<const int32_t> blocks(int sequence) const { return blocks_.of(sequence); }
  // What the sequence has room for.
  int64_t capacity(int sequence) const;

  // Threads may write and read different rows at the same time. A sequence writes
  // no block that it shares from another.
  void Write(int layer, int sequence, int64_t position, const float* row);
  // Rows [begin, begin + count) as floats, `width` apart.
  void Read(int layer, int sequence, int64_t begin, int64_t count, float* out) const {
    ReadColumns(layer, sequence, begin, count, 0, shape_.width, out);
  }
  // Of these rows floats [first, first + columns), which are `columns` apart in
  // `out`; `first` is a multiple of KvRows::kBlock.
  void ReadColumns(int layer, int sequence, int64_t begin, int64_t count, int64_t first, int64_t columns,
                   float* out) const;
  // Brings them nearer, those that exist: they will be read soon. Changes nothing.
  void FetchColumns(int layer, int sequence, int64_t begin, int64_t count, int64_t first, int64_t columns) const;

  // Bracket a sweep and the attention of each of its layers, in order; all rows of
  // a layer are written before any is read. Without a spill they do nothing. A
  // sequence's rows continue what it holds, or go back behind it. BeginLayer waits
  // for reads, however long unless the stop flag is raised.
  void BeginSweep(const Sweep& sweep);
  absl::Status BeginLayer(int layer);
  absl::Status EndLayer(int layer);
  void EndSweep();
  // Ends a sweep that failed; waits for reads in flight. Its sequences hold what
  // they held before their first row of it.
  void Cancel();

  // Blocks at the sequence's beginning that are on the drive in all layers.
  int64_t sealed_blocks(int sequence) const;
  // Of a sealed block's bytes in all layers.
  uint64_t checksum(int32_t block) const { return spilled_->spill().checksum(block); }
  // What is sealed is on the medium.
  absl::Status SyncSpill();
  // Of free blocks this one is taken last: VerifySpill is to find in it what an
  // earlier process left there.
  void TakeLast(int32_t block);
  // Reads `blocks`, which nobody holds, and seals them; DataLoss unless they are
  // what their checksums say.
  absl::Status VerifySpill(absl::Span<const KvBlockChecksum> blocks);
  // Of a block in the spill's file.
  uint64_t spill_place_bytes() const { return spilled_->spill().place_bytes(); }
  uint64_t spill_bytes_read() const { return spilled_ == nullptr ? 0 : spilled_->spill().bytes_read(); }
  uint64_t spill_bytes_written() const { return spilled_ == nullptr ? 0 : spilled_->spill().bytes_written(); }
  // Waiting for the spill.
  int64_t stall_ns() const { return spilled_ == nullptr ? 0 : spilled_->spill().stall_ns(); }
  // Where reads of the spill go, for RecordLoader::RegisterMemory.
  absl::Span<uint8_t> memory_region() {
    return spilled_ == nullptr ? absl::Span<uint8_t>() : spilled_->spill().memory_region();
  }

  // A block of a sequence in memory, for files that keep it. Not of a spilled cache.
  absl::Span<uint8_t> Block(int layer, int sequence, int64_t index);

  const Shape& shape() const { return shape_; }
  // What was allocated.
  uint64_t memory_bytes() const;

 private:
  // With the blocks that 0 stands for.
  static Shape Counted(Shape shape);
  static SpilledKv::Shape SpilledShape(const Shape& counted);
  uint8_t* RowAt(int layer, int32_t block, int64_t row) const;

  Shape shape_;
  KvRows rows_;
  uint64_t block_bytes_ = 0;
  KvBlocks blocks_;
  AlignedBuffer memory_;                // without a spill
  std::unique_ptr<SpilledKv> spilled_;  // or this
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_KV_CACHE_H_
