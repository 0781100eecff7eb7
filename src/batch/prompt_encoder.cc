#include "src/batch/prompt_encoder.h"

#include <string>
#include <utility>

#include "base/status.h"
#include "src/engine/opened_model.h"
#include "src/engine/prompt_scheduler.h"

namespace sluice {

absl::StatusOr<std::vector<int32_t>> PromptEncoder::EncodeChat(const BatchRequest& request) const {
  if (!template_.ok()) {
    return absl::FailedPreconditionError(
        "the chat template of this model is not supported yet; send its prompts to /v1/completions");
  }
  if (!template_->has_value()) {
    return absl::FailedPreconditionError("this model has no chat template; send its prompts to /v1/completions");
  }
  ASSIGN_OR_RETURN(const std::string text, (*template_)->Render(request.messages, /*add_generation_prompt=*/true));
  return tokenizer_->Encode(text, ParseSpecial::kAll);
}

absl::StatusOr<std::vector<int32_t>> PromptEncoder::EncodeAny(const BatchRequest& request) const {
  if (request.endpoint == Endpoint::kChatCompletions) return EncodeChat(request);
  if (request.prompt.has_value()) return EncodeRawPrompt(*tokenizer_, *request.prompt);
  return request.prompt_tokens;
}

absl::variant<std::vector<int32_t>, ApiError> PromptEncoder::Encode(const BatchRequest& request) const {
  const bool chat = request.endpoint == Endpoint::kChatCompletions;
  absl::StatusOr<std::vector<int32_t>> tokens = EncodeAny(request);
  if (tokens.ok() && tokens->empty()) tokens = absl::InvalidArgumentError("the prompt is empty");
  if (tokens.ok()) {
    const absl::Status known = CheckTokens(*tokens, vocab_);
    if (!known.ok()) tokens = known;
  }
  if (tokens.ok()) return *std::move(tokens);
  ApiError error;
  error.message = std::string(tokens.status().message());
  error.param = chat ? "messages" : "prompt";
  if (chat && !template_.ok()) error.code = "unsupported_chat_template";
  return error;
}

}  // namespace sluice
