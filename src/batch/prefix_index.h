// Which KV blocks hold which prompt's beginning, so that documents that begin
// alike compute it once.
//
// A block is known by the whole chain of tokens up to its end: attention has
// mixed them all into it. Only full blocks of given tokens are shared, and never
// a prompt's last token, whose logits are wanted. One thread.
#ifndef SLUICE_SRC_BATCH_PREFIX_INDEX_H_
#define SLUICE_SRC_BATCH_PREFIX_INDEX_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace sluice {

class PrefixIndex {
 public:
  explicit PrefixIndex(int sequences) : held_(static_cast<size_t>(sequences)) {}

  // The blocks that hold the longest known beginning of `prompt`.
  std::vector<int32_t> Find(absl::Span<const int32_t> prompt) const;
  // From now on `sequence` holds `blocks`, the first of which hold its prompt.
  void Add(int sequence, absl::Span<const int32_t> prompt, absl::Span<const int32_t> blocks);
  // The first `positions` of the sequence have been computed, or will be in the sweep at hand.
  void Advance(int sequence, int64_t positions);
  // Whether the first `positions` of the sequence, whole blocks that it shares, have been computed.
  bool Ready(int sequence, int64_t positions) const;
  void Remove(int sequence);

 private:
  struct Entry {
    int32_t block = 0;
    int holders = 0;
    bool computed = false;
    std::vector<int32_t> tokens;  // of the block, to tell chains of equal hash apart
    uint64_t before = 0;          // key of the block before
  };
  struct Held {
    std::vector<uint64_t> keys;  // of the blocks, in order
  };

  std::vector<uint64_t> KnownChain(absl::Span<const int32_t> prompt) const;
  bool Matches(uint64_t key, uint64_t before, absl::Span<const int32_t> tokens) const;

  absl::flat_hash_map<uint64_t, Entry> entries_;
  std::vector<Held> held_;  // by sequence
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_PREFIX_INDEX_H_
