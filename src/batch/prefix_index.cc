#include "src/batch/prefix_index.h"

#include <xxhash.h>

#include <algorithm>

#include "base/check.h"
#include "src/model/kv_cache.h"

namespace sluice {
namespace {

uint64_t KeyOf(uint64_t before, absl::Span<const int32_t> tokens) {
  return XXH3_64bits_withSeed(tokens.data(), tokens.size() * sizeof(int32_t), before);
}

int64_t FullBlocks(absl::Span<const int32_t> prompt) {
  return prompt.empty() ? 0 : static_cast<int64_t>(prompt.size() - 1) / kKvBlockTokens;
}

absl::Span<const int32_t> TokensOf(absl::Span<const int32_t> prompt, int64_t block) {
  return prompt.subspan(static_cast<size_t>(block * kKvBlockTokens), static_cast<size_t>(kKvBlockTokens));
}

}  // namespace

bool PrefixIndex::Matches(uint64_t key, uint64_t before, absl::Span<const int32_t> tokens) const {
  const auto entry = entries_.find(key);
  return entry != entries_.end() && entry->second.before == before &&
         std::equal(tokens.begin(), tokens.end(), entry->second.tokens.begin(), entry->second.tokens.end());
}

std::vector<uint64_t> PrefixIndex::KnownChain(absl::Span<const int32_t> prompt) const {
  std::vector<uint64_t> keys;
  uint64_t before = 0;
  for (int64_t block = 0; block < FullBlocks(prompt); ++block) {
    const uint64_t key = KeyOf(before, TokensOf(prompt, block));
    if (!Matches(key, before, TokensOf(prompt, block))) break;
    keys.push_back(before = key);
  }
  return keys;
}

std::vector<int32_t> PrefixIndex::Find(absl::Span<const int32_t> prompt) const {
  std::vector<int32_t> blocks;
  for (const uint64_t key : KnownChain(prompt)) blocks.push_back(entries_.at(key).block);
  return blocks;
}

void PrefixIndex::Add(int sequence, absl::Span<const int32_t> prompt, absl::Span<const int32_t> blocks) {
  Held& held = held_[static_cast<size_t>(sequence)];
  SLUICE_CHECK(held.keys.empty());
  uint64_t before = 0;
  for (int64_t block = 0; block < FullBlocks(prompt); ++block) {
    const absl::Span<const int32_t> tokens = TokensOf(prompt, block);
    const uint64_t key = KeyOf(before, tokens);
    Entry& entry = entries_[key];
    const int32_t place = blocks[static_cast<size_t>(block)];
    if (entry.holders == 0) {
      entry = {place, 0, false, {tokens.begin(), tokens.end()}, before};
    } else if (entry.block != place) {
      return;  // computed twice, or another chain of the same hash: shared no further
    }
    ++entry.holders;
    held.keys.push_back(before = key);
  }
}

void PrefixIndex::Advance(int sequence, int64_t positions) {
  const Held& held = held_[static_cast<size_t>(sequence)];
  const size_t full = std::min(held.keys.size(), static_cast<size_t>(positions / kKvBlockTokens));
  for (size_t block = full; block > 0; --block) {
    Entry& entry = entries_.at(held.keys[block - 1]);
    if (entry.computed) return;  // and so is all before it
    entry.computed = true;
  }
}

bool PrefixIndex::Ready(int sequence, int64_t positions) const {
  const size_t shared = static_cast<size_t>(positions / kKvBlockTokens);
  const Held& held = held_[static_cast<size_t>(sequence)];
  return shared == 0 || (shared <= held.keys.size() && entries_.at(held.keys[shared - 1]).computed);
}

void PrefixIndex::Remove(int sequence) {
  Held& held = held_[static_cast<size_t>(sequence)];
  for (const uint64_t key : held.keys) {
    const auto entry = entries_.find(key);
    if (--entry->second.holders == 0) entries_.erase(entry);
  }
  held.keys.clear();
}

}  // namespace sluice
