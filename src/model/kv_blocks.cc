#include "src/model/kv_blocks.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"

namespace sluice {

KvBlocks::KvBlocks(int sequences, int64_t table_blocks, int64_t blocks)
    : table_blocks_(table_blocks),
      free_(blocks),
      tables_(static_cast<size_t>(sequences * table_blocks)),
      counts_(static_cast<size_t>(sequences)),
      holders_(static_cast<size_t>(blocks)),
      owners_(static_cast<size_t>(blocks), kNobody),
      sealed_(static_cast<size_t>(blocks)) {}

uint64_t KvBlocks::MemoryBytes(uint64_t sequences, uint64_t table_blocks, uint64_t blocks) {
  const uint64_t tables = SaturatingMul(SaturatingMul(sequences, table_blocks), sizeof(int32_t));
  const uint64_t by_block = SaturatingMul(blocks, 2 * sizeof(int32_t) + sizeof(uint8_t));
  return SaturatingAdd(SaturatingAdd(tables, SaturatingMul(sequences, sizeof(int64_t))), by_block);
}

uint64_t KvBlocks::memory_bytes() const {
  return (tables_.capacity() + holders_.capacity() + owners_.capacity()) * sizeof(int32_t) +
         counts_.capacity() * sizeof(int64_t) + sealed_.capacity();
}

bool KvBlocks::Take(int sequence, int64_t count, absl::Span<const int32_t> shared) {
  const int64_t held = static_cast<int64_t>(shared.size());
  SLUICE_CHECK(counts_[sequence] == 0 && count <= table_blocks_ && held <= count);
  if (count - held > free_) return false;
  for (const int32_t block : shared) {
    SLUICE_CHECK(holders_[block] > 0);
    Hold(sequence, block);
  }
  Fill(sequence, count);
  return true;
}

bool KvBlocks::Adopt(int sequence, int64_t count, absl::Span<const int32_t> adopted) {
  const int64_t held = static_cast<int64_t>(adopted.size());
  SLUICE_CHECK(counts_[sequence] == 0 && count <= table_blocks_ && held <= count);
  int64_t wanted_free = count - held;
  for (const int32_t block : adopted) {
    // What another has taken for itself is no longer what it was.
    if (block < 0 || block >= blocks() || owners_[block] != kNobody || !sealed(block)) return false;
    wanted_free += IsFree(block);
  }
  if (wanted_free > free_) return false;
  for (const int32_t block : adopted) {
    free_ -= IsFree(block);
    Hold(sequence, block);
  }
  Fill(sequence, count);
  return true;
}

void KvBlocks::Hold(int sequence, int32_t block) {
  ++holders_[block];
  tables_[sequence * table_blocks_ + counts_[sequence]++] = block;
}

void KvBlocks::Fill(int sequence, int64_t count) {
  FillFrom(sequence, count, /*sealed_ones=*/false);
  FillFrom(sequence, count, /*sealed_ones=*/true);
}

void KvBlocks::FillFrom(int sequence, int64_t count, bool sealed_ones) {
  for (int32_t block = 0; block < blocks() && counts_[sequence] < count; ++block) {
    if (!IsFree(block) || sealed(block) != sealed_ones) continue;
    --free_;
    owners_[block] = sequence;
    sealed_[block] = false;
    Hold(sequence, block);
  }
}

void KvBlocks::Release(int sequence) {
  for (const int32_t block : of(sequence)) {
    if (owners_[block] == sequence) owners_[block] = kNobody;
    if (--holders_[block] > 0) continue;
    ++free_;
    sealed_[block] = false;
  }
  counts_[sequence] = 0;
}

}  // namespace sluice
