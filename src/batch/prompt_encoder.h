// From a request to the tokens of its prompt.
#ifndef SLUICE_SRC_BATCH_PROMPT_ENCODER_H_
#define SLUICE_SRC_BATCH_PROMPT_ENCODER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/variant.h"
#include "src/batch/batch_request.h"
#include "src/text/chat_template.h"
#include "src/text/tokenizer.h"
#include "storage/gguf.h"

namespace sluice {

class PromptEncoder {
 public:
  // A chat template that is not understood fails the chats, not the job. `tokenizer` outlives the encoder.
  PromptEncoder(const GgufMetadata& metadata, const Tokenizer* tokenizer, int64_t vocab)
      : tokenizer_(tokenizer), vocab_(vocab), template_(ChatTemplate::FromMetadata(metadata, *tokenizer)) {}

  // At least one token, all in the vocabulary; or what is wrong with the request.
  absl::variant<std::vector<int32_t>, ApiError> Encode(const BatchRequest& request) const;

 private:
  absl::StatusOr<std::vector<int32_t>> EncodeChat(const BatchRequest& request) const;
  absl::StatusOr<std::vector<int32_t>> EncodeAny(const BatchRequest& request) const;

  const Tokenizer* tokenizer_;
  int64_t vocab_;
  absl::StatusOr<absl::optional<ChatTemplate>> template_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_PROMPT_ENCODER_H_
