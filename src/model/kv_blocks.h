// Which blocks of the KV cache each sequence holds.
//
// Owns the tables of all sequences and the count of holders of each block. A
// block that several sequences hold is written by none but the one that took it
// free, its owner; the others share it as part of their beginning. Lowest ids are
// taken first, so that neighbours in a table are mostly neighbours in memory.
// Memory is laid out at creation. One thread.
#ifndef SLUICE_SRC_MODEL_KV_BLOCKS_H_
#define SLUICE_SRC_MODEL_KV_BLOCKS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace sluice {

class KvBlocks {
 public:
  static constexpr int32_t kNobody = -1;

  KvBlocks() = default;
  // Tables of at most `table_blocks` entries.
  KvBlocks(int sequences, int64_t table_blocks, int64_t blocks);
  static uint64_t MemoryBytes(uint64_t sequences, uint64_t table_blocks, uint64_t blocks);
  uint64_t memory_bytes() const;

  int64_t blocks() const { return static_cast<int64_t>(holders_.size()); }
  int64_t free_blocks() const { return free_; }
  bool IsFree(int32_t block) const { return holders_[block] == 0; }
  int32_t holders(int32_t block) const { return holders_[block]; }
  // kNobody once its owner has let go of it.
  int32_t owner(int32_t block) const { return owners_[block]; }

  // Gives an empty sequence `count` blocks, the first of which are `shared`, held
  // by others now. False, and nothing changed, when too few blocks are free.
  bool Take(int sequence, int64_t count, absl::Span<const int32_t> shared);
  // As Take, but the first are `adopted`: free, or adopted by others. Nobody owns them.
  bool Adopt(int sequence, int64_t count, absl::Span<const int32_t> adopted);
  void Release(int sequence);

  // Whether the block is whole on the drive, or a free one is said to be. Of the
  // free ones such are taken last, until when they can be adopted.
  bool sealed(int32_t block) const { return sealed_[block] != 0; }
  void set_sealed(int32_t block, bool sealed) { sealed_[block] = sealed; }

  absl::Span<const int32_t> of(int sequence) const {
    return {tables_.data() + sequence * table_blocks_, static_cast<size_t>(counts_[sequence])};
  }
  int32_t at(int sequence, int64_t index) const { return tables_[sequence * table_blocks_ + index]; }

 private:
  void Hold(int sequence, int32_t block);
  // Takes free blocks until the sequence has `count`.
  void Fill(int sequence, int64_t count);
  void FillFrom(int sequence, int64_t count, bool sealed_ones);

  int64_t table_blocks_ = 0;
  int64_t free_ = 0;
  std::vector<int32_t> tables_;   // [sequences][table_blocks]
  std::vector<int64_t> counts_;   // by sequence
  std::vector<int32_t> holders_;  // by block
  std::vector<int32_t> owners_;   // by block
  std::vector<uint8_t> sealed_;   // by block
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_KV_BLOCKS_H_
