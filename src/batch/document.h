// One request in flight: its prompt, its answer so far, and how much of both is
// in the KV cache.
#ifndef SLUICE_SRC_BATCH_DOCUMENT_H_
#define SLUICE_SRC_BATCH_DOCUMENT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/optional.h"
#include "src/batch/completion.h"

namespace sluice {

struct Document {
  Document(uint64_t number, absl::optional<std::string> id, std::vector<int32_t> tokens, Completion answer)
      : line(number), custom_id(std::move(id)), prompt(std::move(tokens)), completion(std::move(answer)) {}

  uint64_t line;  // its number in the input, from 1
  absl::optional<std::string> custom_id;
  std::vector<int32_t> prompt;
  Completion completion;
  int sequence = -1;             // in the KV cache
  int64_t shared_positions = 0;  // the first ones, computed for another document
  int64_t computed = 0;          // positions that the cache holds
  int64_t spilled_blocks = 0;    // told to the journal

  int64_t prompt_size() const { return static_cast<int64_t>(prompt.size()); }
  // Positions that the answer may come to need: the last token's keys serve nobody.
  int64_t reserved_positions() const { return prompt_size() + completion.max_tokens() - 1; }
  int64_t known() const { return prompt_size() + static_cast<int64_t>(completion.tokens().size()); }
  int64_t pending() const { return known() - computed; }
  bool is_generated(int64_t position) const { return position >= prompt_size(); }
  int32_t token(int64_t position) const {
    return is_generated(position) ? completion.tokens()[static_cast<size_t>(position - prompt_size())].token
                                  : prompt[static_cast<size_t>(position)];
  }
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_DOCUMENT_H_
