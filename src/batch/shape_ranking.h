// How many documents to keep in flight, and whether their KV goes to the drive.
#ifndef SLUICE_SRC_BATCH_SHAPE_RANKING_H_
#define SLUICE_SRC_BATCH_SHAPE_RANKING_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "src/engine/planning.h"

namespace sluice {

enum class SpillUse { kNever, kWhereItPays, kAlways };

struct ShapeFacts {
  int experts = 0;  // of a layer
  int top_k = 0;
  uint64_t routed_bytes = 0;  // of all experts of all layers
  uint64_t trunk_bytes = 0;
  uint64_t block_bytes = 0;  // of a KV block in all layers
};

// Bytes that a sweep with a row of each sequence reads at most: the union of
// equally likely experts, the trunk, and the KV where it is spilled.
double SweepBytes(const ShapeFacts& facts, const SequenceShape& shape);

// What a document needs while it is in flight.
struct DocumentNeed {
  int64_t kv_blocks = 0;
  uint64_t held_bytes = 0;
};

// A spill that has blocks of documents which are to go on.
struct KeptSpill {
  int sequences = 0;   // that it was enough for
  int64_t blocks = 0;  // 0: there is none
};

// Shapes for up to `most` of the documents, given in order, at once: the one that
// reads the least for each token first. A shape has blocks for whichever neighbours
// are in flight together, and memory for whichever documents. One that spills to
// the blocks of `kept` comes before all that are for less than twice as many
// documents.
std::vector<SequenceShape> RankShapes(const ShapeFacts& facts, absl::Span<const DocumentNeed> documents, int most,
                                      SpillUse spill, const KeptSpill& kept = {});

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_SHAPE_RANKING_H_
