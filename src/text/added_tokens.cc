#include "src/text/added_tokens.h"

#include <algorithm>
#include <utility>

namespace sluice {

AddedTokens::AddedTokens(const Vocabulary& vocabulary, std::vector<int32_t> ids) : ids_(std::move(ids)) {
  const auto bytes_then_id = [&](int32_t a, int32_t b) {
    const int order = vocabulary.BytesOf(a).compare(vocabulary.BytesOf(b));
    return order != 0 ? order < 0 : a < b;
  };
  ids_.erase(std::remove_if(ids_.begin(), ids_.end(), [&](int32_t id) { return vocabulary.BytesOf(id).empty(); }),
             ids_.end());
  std::sort(ids_.begin(), ids_.end(), bytes_then_id);
  for (int32_t id : ids_) first_bytes_.set(static_cast<uint8_t>(vocabulary.BytesOf(id)[0]));
}

absl::optional<AddedTokens::Found> AddedTokens::FindNext(const Vocabulary& vocabulary, absl::string_view text,
                                                         size_t begin) const {
  if (ids_.empty()) return absl::nullopt;
  for (; begin < text.size(); ++begin) {
    if (!first_bytes_[static_cast<uint8_t>(text[begin])]) continue;
    const int32_t id = LongestAtFront(vocabulary, text.substr(begin));
    if (id >= 0) return Found{id, begin, vocabulary.BytesOf(id).size()};
  }
  return absl::nullopt;
}

int32_t AddedTokens::LongestAtFront(const Vocabulary& vocabulary, absl::string_view text) const {
  int32_t longest = -1;
  auto first = ids_.begin();
  auto last = ids_.end();
  // All of [first, last) begin with the first `depth` bytes of the text.
  for (size_t depth = 0; first != last; ++depth) {
    if (vocabulary.BytesOf(*first).size() == depth) longest = *first;
    while (first != last && vocabulary.BytesOf(*first).size() == depth) ++first;
    if (depth == text.size()) break;
    const auto byte_of = [&](int32_t id) { return static_cast<uint8_t>(vocabulary.BytesOf(id)[depth]); };
    const uint8_t wanted = static_cast<uint8_t>(text[depth]);
    first = std::partition_point(first, last, [&](int32_t id) { return byte_of(id) < wanted; });
    last = std::partition_point(first, last, [&](int32_t id) { return byte_of(id) == wanted; });
  }
  return longest;
}

}  // namespace sluice
