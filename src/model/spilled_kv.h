// The KV cache of sequences whose full blocks live on the drive.
//
// In a sweep every block that attention looks at or writes lies at its place in
// the layer's memory (storage/kv_spill.h), wherever it came from: full blocks
// from the drive, read one layer ahead; the block that is not yet full from the
// sequence's tail, which is always in memory. After a layer the blocks that have
// become full are written to the drive, and what is left over goes to the tail.
//
// A block is sealed once it is on the drive in all layers. A sweep that fails
// seals nothing and loses nothing: run again from the same positions, it finds
// each layer's rows in the tail or on the drive, whichever that layer had got to.
// One thread.
#ifndef SLUICE_SRC_MODEL_SPILLED_KV_H_
#define SLUICE_SRC_MODEL_SPILLED_KV_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/aligned_buffer.h"
#include "src/model/kv_blocks.h"
#include "src/model/sweep.h"
#include "storage/kv_spill.h"

namespace sluice {

class SpilledKv {
 public:
  struct Shape {
    KvSpill::Shape spill;
    int sequences = 0;
    int64_t block_rows = 0;
  };

  // The largest uint64_t when it does not fit one.
  static uint64_t MemoryBytes(const Shape& shape);
  static absl::StatusOr<std::unique_ptr<SpilledKv>> Create(const Shape& shape, KvSpill::Source source);
  uint64_t memory_bytes() const;
  KvSpill& spill() { return *spill_; }

  // In the layer at hand of a sweep.
  uint8_t* Place(int layer, int32_t block) { return spill_->Place(layer, block); }

  // The sequence begins anew; its first `positions` rows, whole blocks, are others'
  // or on the drive.
  void Begin(int sequence, int64_t positions);
  void BeginSweep(const Sweep& sweep, KvBlocks* blocks);
  // Waits for the layer's reads.
  absl::Status BeginLayer(int layer, const KvBlocks& blocks);
  // All rows of the layer have been written and read.
  absl::Status EndLayer(int layer, const KvBlocks& blocks);
  void EndSweep(KvBlocks* blocks);
  // Ends a sweep that failed; waits for reads in flight.
  void Cancel();

 private:
  static constexpr int64_t kNone = -1;

  // A sequence's rows in the sweep: positions [begin, end).
  struct Part {
    int sequence = 0;
    int64_t begin = 0;
    int64_t end = 0;
  };

  explicit SpilledKv(const Shape& shape) : shape_(shape) {}
  void CollectParts(const Sweep& sweep);
  void Unseal(const Part& part, KvBlocks* blocks);
  void CollectWrites(const KvBlocks& blocks);
  void ReadLayer(int layer, const KvBlocks& blocks);
  bool OnDrive(int layer, const Part& part, int64_t index, const KvBlocks& blocks) const;

  uint64_t row_bytes() const { return shape_.spill.block_bytes / static_cast<uint64_t>(shape_.block_rows); }
  uint64_t TailIndex(int layer, int sequence) const {
    return static_cast<uint64_t>(layer) * static_cast<uint64_t>(shape_.sequences) + static_cast<uint64_t>(sequence);
  }
  uint8_t* Tail(int layer, int sequence) {
    return tails_.data() + TailIndex(layer, sequence) * shape_.spill.block_bytes;
  }

  const Shape shape_;
  std::unique_ptr<KvSpill> spill_;
  AlignedBuffer tails_;                // [layers][sequences] blocks
  std::vector<int64_t> tail_holds_;    // [layers][sequences]: which block of the sequence, or kNone
  std::vector<int64_t> lengths_;       // by sequence: rows that are whole in all layers
  std::vector<Part> parts_;            // of the sweep
  std::vector<int32_t> fresh_blocks_;  // that become full in the sweep, ascending
  std::vector<uint8_t> wanted_;        // by block: to be read in the layer at hand
  bool sweeping_ = false;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_SPILLED_KV_H_
