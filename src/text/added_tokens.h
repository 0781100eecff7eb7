// Finds added tokens in a text: leftmost first, longest first.
#ifndef SLUICE_SRC_TEXT_ADDED_TOKENS_H_
#define SLUICE_SRC_TEXT_ADDED_TOKENS_H_

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "src/text/vocabulary.h"

namespace sluice {

class AddedTokens {
 public:
  struct Found {
    int32_t id;
    size_t begin;
    size_t bytes;
  };

  // `ids` are the tokens to look for; those without text are left out. Where
  // two have the same text the lower id counts.
  AddedTokens(const Vocabulary& vocabulary, std::vector<int32_t> ids);

  // The first one at or behind `begin`. `vocabulary` is that of the constructor.
  absl::optional<Found> FindNext(const Vocabulary& vocabulary, absl::string_view text, size_t begin) const;

  size_t memory_bytes() const { return sizeof(*this) + ids_.capacity() * sizeof(int32_t); }

 private:
  // The longest token that `text` begins with, or -1.
  int32_t LongestAtFront(const Vocabulary& vocabulary, absl::string_view text) const;

  std::vector<int32_t> ids_;  // in the order of their bytes
  std::bitset<256> first_bytes_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_ADDED_TOKENS_H_
