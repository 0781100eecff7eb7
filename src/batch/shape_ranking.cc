#include "src/batch/shape_ranking.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numeric>

namespace sluice {

double SweepBytes(const ShapeFacts& facts, const SequenceShape& shape) {
  const double chosen = facts.experts > 0 ? static_cast<double>(facts.top_k) / facts.experts : 0.0;
  const double touched = 1.0 - std::pow(1.0 - chosen, shape.sequences);
  const double spilled_blocks = shape.spilled ? static_cast<double>(shape.kv_blocks) : 0.0;
  return touched * static_cast<double>(facts.routed_bytes) + static_cast<double>(facts.trunk_bytes) +
         spilled_blocks * static_cast<double>(facts.block_bytes);
}

namespace {

// Of any `sequences` neighbours, the most. Those that are in flight together need
// not be neighbours, but they wait for blocks.
int64_t BlocksOfNeighbours(absl::Span<const DocumentNeed> documents, int sequences) {
  const size_t window = static_cast<size_t>(sequences);
  int64_t held = 0, most = 1;
  for (size_t i = 0; i < documents.size(); ++i) {
    held += documents[i].kv_blocks;
    if (i >= window) held -= documents[i - window].kv_blocks;
    most = std::max(most, held);
  }
  return most;
}

// What any `sequences` of them hold at most: nobody waits for memory.
uint64_t BytesOfLargest(std::vector<uint64_t> held_bytes, int sequences) {
  const size_t count = std::min(held_bytes.size(), static_cast<size_t>(sequences));
  const auto end = held_bytes.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(held_bytes.begin(), end, held_bytes.end(), std::greater<>());
  return std::accumulate(held_bytes.begin(), end, uint64_t{0});
}

}  // namespace

std::vector<SequenceShape> RankShapes(const ShapeFacts& facts, absl::Span<const DocumentNeed> documents, int most,
                                      SpillUse spill) {
  std::vector<SequenceShape> shapes;
  std::vector<uint64_t> held_bytes;
  for (const DocumentNeed& document : documents) held_bytes.push_back(document.held_bytes);
  for (SequenceShape shape : HalvedShapes(most, 1)) {
    shape.kv_blocks = BlocksOfNeighbours(documents, shape.sequences);
    shape.held_bytes = BytesOfLargest(held_bytes, shape.sequences);
    if (spill != SpillUse::kAlways) shapes.push_back(shape);
    shape.spilled = true;
    if (spill != SpillUse::kNever) shapes.push_back(shape);
  }
  const auto bytes_per_token = [&](const SequenceShape& shape) { return SweepBytes(facts, shape) / shape.sequences; };
  std::stable_sort(shapes.begin(), shapes.end(), [&](const SequenceShape& a, const SequenceShape& b) {
    return bytes_per_token(a) < bytes_per_token(b);
  });
  return shapes;
}

}  // namespace sluice
