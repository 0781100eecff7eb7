// Byte-pair merging of one piece: joins the adjacent pair of lowest rank,
// leftmost on a tie, until no pair is in the table.
//
// Takes O(n log n) however long the piece is. Keeps its scratch memory between
// pieces; one merger serves one thread.
#ifndef SLUICE_SRC_TEXT_BPE_MERGER_H_
#define SLUICE_SRC_TEXT_BPE_MERGER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "src/text/merge_table.h"

namespace sluice {

class BpeMerger {
 public:
  // `table` outlives the merger.
  explicit BpeMerger(const MergeTable* table) : table_(*table) {}

  // Merges `symbols` (fewer than 2^31) in place and appends what is left to `out`.
  void Merge(absl::Span<int32_t> symbols, std::vector<int32_t>* out);

 private:
  struct Node {
    int32_t symbol;  // kMerged once it is part of its left neighbour
    uint32_t previous;
    uint32_t next;
  };

  // Both do the same; the first is quicker on a few symbols, quadratic on many.
  void MergeShort(absl::Span<int32_t> symbols, std::vector<int32_t>* out);
  void MergeLong(absl::Span<const int32_t> symbols, std::vector<int32_t>* out);

  void FillNodes(absl::Span<const int32_t> symbols);
  uint32_t RankAt(uint32_t at) const;
  void Offer(uint32_t at);
  void Join(uint32_t at, uint32_t rank);

  const MergeTable& table_;
  std::vector<Node> nodes_;
  std::vector<uint64_t> heap_;  // rank in the upper half, position in the lower: the order of merging
};

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_BPE_MERGER_H_
