// The list of byte-pair merges: which adjacent tokens join, and in what order.
//
// Compact, because it counts against the memory budget for the whole run: 12
// bytes a merge and a hash of 4-byte slots at most half full.
#ifndef SLUICE_SRC_TEXT_MERGE_TABLE_H_
#define SLUICE_SRC_TEXT_MERGE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice {

class MergeTable {
 public:
  static constexpr uint32_t kNoRank = UINT32_MAX;

  // For up to `capacity` merges, less than 2^30.
  explicit MergeTable(size_t capacity);

  // The next merge in order of rank. A pair that is there already keeps its
  // lower rank. No more than `capacity` calls.
  void Add(int32_t left, int32_t right, int32_t result);

  // kNoRank when the pair does not join. Lower ranks join first.
  uint32_t FindRank(int32_t left, int32_t right) const { return slots_[FindSlot(left, right)]; }
  int32_t ResultOf(uint32_t rank) const { return merges_[rank].result; }

  size_t size() const { return merges_.size(); }
  size_t memory_bytes() const;

 private:
  struct Merge {
    int32_t left;
    int32_t right;
    int32_t result;
  };

  // The slot that holds the pair's rank, or the free one where it belongs.
  size_t FindSlot(int32_t left, int32_t right) const;

  std::vector<Merge> merges_;    // by rank
  std::vector<uint32_t> slots_;  // ranks; kNoRank is free
};

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_MERGE_TABLE_H_
