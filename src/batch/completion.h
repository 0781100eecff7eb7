// One answer as it grows: chooses tokens, cuts at stop strings, knows when it is
// done.
//
// Tokens chosen before an interruption are taken in again by Append and give the
// same text: what Choose returns is a function of (logits, seed, position) alone.
#ifndef SLUICE_SRC_BATCH_COMPLETION_H_
#define SLUICE_SRC_BATCH_COMPLETION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "src/batch/batch_request.h"
#include "src/batch/chosen_token.h"
#include "src/text/sampler.h"
#include "src/text/tokenizer.h"
#include "src/text/utf8_stream.h"

namespace sluice {

// What a token adds to the bytes of an answer: nothing for a special one, and for
// an id behind the vocabulary, where a model may have more rows than tokens.
absl::string_view AnswerBytes(const Tokenizer& tokenizer, int32_t token);

class Completion {
 public:
  // The request's sampling options must be sound (ParseBatchLine checks them).
  // `max_tokens` is at least 1 and no more than memory is there for; `tokenizer`
  // outlives the answer.
  Completion(BatchRequest request, int64_t prompt_tokens, int64_t max_tokens, uint64_t seed,
             const Tokenizer* tokenizer);

  // The token that follows those so far, from its logits. Does not take it in.
  // Takes 4 bytes a logit while it runs when top_p is below 1.
  ChosenToken Choose(absl::Span<const float> logits) const;
  // Takes in a token; not when finished.
  void Append(ChosenToken token);

  bool finished() const { return !finish_reason_.empty(); }
  // "stop" (an end-of-generation token or a stop string) or "length".
  const std::string& finish_reason() const { return finish_reason_; }
  const BatchRequest& request() const { return request_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t max_tokens() const { return max_tokens_; }
  int64_t tokens_left() const { return max_tokens_ - static_cast<int64_t>(tokens_.size()); }
  uint64_t seed() const { return seed_; }
  // Every token taken in, an end token included: usage counts them.
  absl::Span<const ChosenToken> tokens() const { return tokens_; }
  // The answer: without special tokens, ended before the stop string that begins
  // first. Whole characters. What may yet become a stop string is held back.
  const std::string& text() const { return text_; }
  // Whether a stop string ended the answer.
  bool is_cut() const { return is_cut_; }
  // Bytes on the heap, at most, for an answer of `max_tokens` tokens that have ten
  // bytes of text each on average.
  static uint64_t MemoryBytes(const BatchRequest& request, int64_t max_tokens);

 private:
  // Whether a stop string has been found.
  bool AppendText(absl::string_view text, bool is_last);

  BatchRequest request_;
  int64_t prompt_tokens_;
  int64_t max_tokens_;
  uint64_t seed_;
  const Tokenizer* tokenizer_;
  Utf8Stream stream_;
  std::vector<ChosenToken> tokens_;
  std::string text_;
  std::string held_;  // behind text_: the beginning of a stop string, perhaps
  std::string finish_reason_;
  bool is_cut_ = false;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_COMPLETION_H_
