// Renders a conversation into the prompt text that a model was trained on.
//
// Only templates that are known whole are rendered, recognised by their exact
// text; any other is refused rather than guessed at.
#ifndef SLUICE_SRC_TEXT_CHAT_TEMPLATE_H_
#define SLUICE_SRC_TEXT_CHAT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "src/text/tokenizer.h"
#include "storage/gguf.h"

namespace sluice {

struct ChatToolCall {
  std::string type;  // "function"
  std::string name;
  std::string arguments;  // JSON text
};

struct ChatMessage {
  std::string role;                     // "system", "user", "assistant" or "tool"
  absl::optional<std::string> content;  // absent: null
  std::vector<ChatToolCall> tool_calls;
};

class ChatTemplate {
 public:
  // Nothing for a model without a template: its prompts are raw.
  // FailedPrecondition for a template that is not known.
  static absl::StatusOr<absl::optional<ChatTemplate>> FromMetadata(const GgufMetadata& metadata,
                                                                   const Tokenizer& tokenizer);

  // The text begins with the BOS text: encode it with ParseSpecial::kAll and
  // add no BOS. InvalidArgument, naming the message, for a conversation that
  // the template has no form for.
  absl::StatusOr<std::string> Render(absl::Span<const ChatMessage> messages, bool add_generation_prompt) const;

 private:
  explicit ChatTemplate(absl::string_view bos_text) : bos_text_(bos_text) {}

  std::string bos_text_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_CHAT_TEMPLATE_H_
