// Reads the byte tokens and the merges of a byte-level BPE from GGUF metadata.
#ifndef SLUICE_SRC_TEXT_MERGE_READER_H_
#define SLUICE_SRC_TEXT_MERGE_READER_H_

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"
#include "src/text/merge_table.h"
#include "src/text/vocabulary.h"
#include "storage/gguf.h"

namespace sluice {

struct BpeRules {
  // The token of each byte; -1 for bytes that no well-formed UTF-8 holds and
  // that the vocabulary lacks.
  std::array<int32_t, 256> byte_ids;
  MergeTable merges;
};

// `vocabulary` was made of the same metadata. Refuses a vocabulary that lacks
// a byte, and merges of tokens or into tokens that it does not hold.
absl::StatusOr<BpeRules> ReadBpeRules(const GgufMetadata& metadata, const Vocabulary& vocabulary);

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_MERGE_READER_H_
