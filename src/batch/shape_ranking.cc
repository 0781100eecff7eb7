#include "src/batch/shape_ranking.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numeric>

#include "absl/types/optional.h"
#include "base/checked_math.h"

namespace sluice {

double SweepBytes(const ShapeFacts& facts, const SequenceShape& shape) {
  const double chosen = Ratio(facts.top_k, facts.experts);
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
uint64_t BytesOfLargest(absl::Span<const DocumentNeed> documents, int sequences) {
  std::vector<uint64_t> held_bytes;
  for (const DocumentNeed& document : documents) held_bytes.push_back(document.held_bytes);
  const size_t count = std::min(held_bytes.size(), static_cast<size_t>(sequences));
  const auto end = held_bytes.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(held_bytes.begin(), end, held_bytes.end(), std::greater<>());
  return std::accumulate(held_bytes.begin(), end, uint64_t{0});
}

// Of so many documents in memory.
SequenceShape ShapeFor(absl::Span<const DocumentNeed> documents, int sequences) {
  SequenceShape shape;
  shape.sequences = sequences;
  shape.kv_blocks = BlocksOfNeighbours(documents, sequences);
  shape.held_bytes = BytesOfLargest(documents, sequences);
  return shape;
}

// What is on the drive is found again only where the layers have as many blocks as
// they had. They served so many documents before; also when all that wait are long,
// since those that are in flight were then, too.
absl::optional<SequenceShape> KeptShape(absl::Span<const DocumentNeed> documents, int most, const KeptSpill& kept) {
  if (kept.blocks < BlocksOfNeighbours(documents, 1)) return absl::nullopt;
  SequenceShape shape = ShapeFor(documents, std::clamp(kept.sequences, 1, most));
  shape.kv_blocks = kept.blocks;
  shape.spilled = true;
  return shape;
}

}  // namespace

std::vector<SequenceShape> RankShapes(const ShapeFacts& facts, absl::Span<const DocumentNeed> documents, int most,
                                      SpillUse spill, const KeptSpill& kept) {
  std::vector<SequenceShape> shapes;
  for (const SequenceShape& halved : HalvedShapes(most, 1)) {
    SequenceShape shape = ShapeFor(documents, halved.sequences);
    if (spill != SpillUse::kAlways) shapes.push_back(shape);
    shape.spilled = true;
    if (spill != SpillUse::kNever) shapes.push_back(shape);
  }
  const auto bytes_per_token = [&](const SequenceShape& shape) { return SweepBytes(facts, shape) / shape.sequences; };
  std::stable_sort(shapes.begin(), shapes.end(), [&](const SequenceShape& a, const SequenceShape& b) {
    return bytes_per_token(a) < bytes_per_token(b);
  });
  const absl::optional<SequenceShape> gone_on =
      spill == SpillUse::kNever ? absl::nullopt : KeptShape(documents, most, kept);
  if (!gone_on.has_value()) return shapes;
  const auto is_little_more = [&](const SequenceShape& shape) { return shape.sequences < 2 * gone_on->sequences; };
  shapes.insert(std::find_if(shapes.begin(), shapes.end(), is_little_more), *gone_on);
  return shapes;
}

}  // namespace sluice
