#include "src/text/bpe_merger.h"

#include <algorithm>
#include <functional>

#include "base/check.h"

namespace sluice {
namespace {

constexpr size_t kShortSymbols = 32;
constexpr int32_t kMerged = -1;
constexpr uint32_t kNone = UINT32_MAX;

}  // namespace

void BpeMerger::Merge(absl::Span<int32_t> symbols, std::vector<int32_t>* out) {
  SLUICE_CHECK(symbols.size() < size_t{1} << 31);
  if (symbols.size() <= kShortSymbols) {
    MergeShort(symbols, out);
  } else {
    MergeLong(symbols, out);
  }
}

void BpeMerger::MergeShort(absl::Span<int32_t> symbols, std::vector<int32_t>* out) {
  size_t count = symbols.size();
  uint32_t ranks[kShortSymbols];  // of each symbol with its right neighbour
  for (size_t i = 0; i + 1 < count; ++i) ranks[i] = table_.FindRank(symbols[i], symbols[i + 1]);
  while (count > 1) {
    const size_t at = std::min_element(ranks, ranks + count - 1) - ranks;
    if (ranks[at] == MergeTable::kNoRank) break;
    symbols[at] = table_.ResultOf(ranks[at]);
    std::copy(symbols.begin() + at + 2, symbols.begin() + count, symbols.begin() + at + 1);
    std::copy(ranks + std::min(at + 2, count - 1), ranks + count - 1, ranks + at + 1);
    --count;
    if (at > 0) ranks[at - 1] = table_.FindRank(symbols[at - 1], symbols[at]);
    if (at + 1 < count) ranks[at] = table_.FindRank(symbols[at], symbols[at + 1]);
  }
  out->insert(out->end(), symbols.begin(), symbols.begin() + count);
}

void BpeMerger::FillNodes(absl::Span<const int32_t> symbols) {
  const uint32_t count = static_cast<uint32_t>(symbols.size());
  nodes_.resize(count);
  for (uint32_t i = 0; i < count; ++i) nodes_[i] = {symbols[i], i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
}

uint32_t BpeMerger::RankAt(uint32_t at) const {
  const Node& node = nodes_[at];
  if (node.symbol == kMerged || node.next == kNone) return MergeTable::kNoRank;
  return table_.FindRank(node.symbol, nodes_[node.next].symbol);
}

void BpeMerger::Offer(uint32_t at) {
  const uint32_t rank = RankAt(at);
  if (rank == MergeTable::kNoRank) return;
  heap_.push_back(static_cast<uint64_t>(rank) << 32 | at);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

void BpeMerger::Join(uint32_t at, uint32_t rank) {
  Node& node = nodes_[at];
  Node& right = nodes_[node.next];
  node.symbol = table_.ResultOf(rank);
  right.symbol = kMerged;
  node.next = right.next;
  if (node.next != kNone) nodes_[node.next].previous = at;
  if (node.previous != kNone) Offer(node.previous);
  Offer(at);
}

void BpeMerger::MergeLong(absl::Span<const int32_t> symbols, std::vector<int32_t>* out) {
  FillNodes(symbols);
  heap_.clear();
  for (uint32_t i = 0; i < nodes_.size(); ++i) Offer(i);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const uint32_t at = static_cast<uint32_t>(heap_.back());
    const uint32_t rank = static_cast<uint32_t>(heap_.back() >> 32);
    heap_.pop_back();
    // A rank names one pair: another rank means that a neighbour has changed.
    if (RankAt(at) == rank) Join(at, rank);
  }
  for (uint32_t i = 0; i != kNone; i = nodes_[i].next) out->push_back(nodes_[i].symbol);
}

}  // namespace sluice
