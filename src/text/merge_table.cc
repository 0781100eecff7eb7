#include "src/text/merge_table.h"

#include "base/check.h"

namespace sluice {
namespace {

uint64_t HashPair(int32_t left, int32_t right) {
  uint64_t hash = static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  hash *= 0x9E3779B97F4A7C15u;
  hash ^= hash >> 32;
  hash *= 0xD6E8FEB86659FD93u;
  return hash ^ hash >> 32;
}

size_t SlotsFor(size_t capacity) {
  size_t slots = 16;
  while (slots < 2 * capacity) slots *= 2;
  return slots;
}

}  // namespace

MergeTable::MergeTable(size_t capacity) : slots_(SlotsFor(capacity), kNoRank) { merges_.reserve(capacity); }

size_t MergeTable::FindSlot(int32_t left, int32_t right) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = HashPair(left, right) & mask;
  while (slots_[slot] != kNoRank) {
    const Merge& merge = merges_[slots_[slot]];
    if (merge.left == left && merge.right == right) break;
    slot = (slot + 1) & mask;
  }
  return slot;
}

void MergeTable::Add(int32_t left, int32_t right, int32_t result) {
  SLUICE_CHECK(2 * merges_.size() < slots_.size());
  const size_t slot = FindSlot(left, right);
  if (slots_[slot] != kNoRank) return;
  slots_[slot] = static_cast<uint32_t>(merges_.size());
  merges_.push_back({left, right, result});
}

size_t MergeTable::memory_bytes() const {
  return merges_.capacity() * sizeof(Merge) + slots_.capacity() * sizeof(uint32_t);
}

}  // namespace sluice
