#include "src/text/chat_template.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace sluice {
namespace {

constexpr char kTemplateKey[] = "tokenizer.chat_template";

// The published DeepSeek-V3 template, by length and FNV-1a hash: enough to tell
// it from every edition of it that renders differently.
constexpr size_t kDeepSeekV3Bytes = 2301;
constexpr uint64_t kDeepSeekV3Hash = 0xebe3604156dc466a;

uint64_t Fnv1a(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char byte : text) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  return hash;
}

bool IsDeepSeekV3(absl::string_view text) {
  // Template engines drop one line end at the end.
  absl::ConsumeSuffix(&text, "\n");
  return text.size() == kDeepSeekV3Bytes && Fnv1a(text) == kDeepSeekV3Hash;
}

// The state of the template while it walks over the messages. What looks odd
// here (the end marker of the calls comes after every call but the first, the
// first-call flag is never reset) is what the published template does.
class DeepSeekV3Renderer {
 public:
  explicit DeepSeekV3Renderer(std::string* out) : out_(*out) {}

  void System(absl::string_view content) {
    absl::StrAppend(&out_, first_system_ ? "" : "\n\n", content);
    first_system_ = false;
  }

  void User(absl::string_view content) {
    after_tool_ = false;
    absl::StrAppend(&out_, "<｜User｜>", content);
  }

  void Assistant(absl::string_view content) {
    absl::StrAppend(&out_, after_tool_ ? "<｜tool▁outputs▁end｜>" : "<｜Assistant｜>", content,
                    "<｜end▁of▁sentence｜>");
    after_tool_ = false;
  }

  void ToolCalls(absl::Span<const ChatToolCall> calls) {
    after_tool_ = false;
    for (const ChatToolCall& call : calls) {
      absl::StrAppend(&out_, first_call_ ? "<｜Assistant｜><｜tool▁calls▁begin｜>" : "\n", "<｜tool▁call▁begin｜>",
                      call.type, "<｜tool▁sep｜>", call.name, "\n```json\n", call.arguments, "\n```",
                      "<｜tool▁call▁end｜>", first_call_ ? "" : "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>");
      first_call_ = false;
    }
  }

  void ToolOutput(absl::string_view content) {
    after_tool_ = true;
    absl::StrAppend(&out_, first_output_ ? "<｜tool▁outputs▁begin｜>" : "\n", "<｜tool▁output▁begin｜>", content,
                    "<｜tool▁output▁end｜>");
    first_output_ = false;
  }

  void End(bool add_generation_prompt) {
    if (after_tool_) {
      absl::StrAppend(&out_, "<｜tool▁outputs▁end｜>");
    } else if (add_generation_prompt) {
      absl::StrAppend(&out_, "<｜Assistant｜>");
    }
  }

 private:
  std::string& out_;
  bool first_system_ = true;
  bool first_call_ = true;
  bool first_output_ = true;
  bool after_tool_ = false;
};

// Messages of other roles are left out, as the template does.
void RenderMessage(const ChatMessage& message, DeepSeekV3Renderer* renderer) {
  if (message.role == "user") renderer->User(*message.content);
  if (message.role == "tool") renderer->ToolOutput(*message.content);
  if (message.role != "assistant") return;
  if (message.content.has_value()) {
    renderer->Assistant(*message.content);
  } else {
    renderer->ToolCalls(message.tool_calls);
  }
}

absl::Status CheckContents(absl::Span<const ChatMessage> messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    const bool needs_content = role == "system" || role == "user" || role == "tool";
    if (!needs_content || messages[i].content.has_value()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("message ", i, " of role ", role, " has no content; give it as a string"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<absl::optional<ChatTemplate>> ChatTemplate::FromMetadata(const GgufMetadata& metadata,
                                                                        const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const std::string text, metadata.GetStringOr(kTemplateKey, ""));
  if (text.empty()) return absl::optional<ChatTemplate>();
  if (!IsDeepSeekV3(text)) {
    return absl::FailedPreconditionError("the chat template of this model is not supported yet; use --raw");
  }
  const absl::optional<int32_t> bos = tokenizer.bos_id();
  return absl::optional<ChatTemplate>(ChatTemplate(bos.has_value() ? tokenizer.TokenBytes(*bos) : ""));
}

absl::StatusOr<std::string> ChatTemplate::Render(absl::Span<const ChatMessage> messages,
                                                 bool add_generation_prompt) const {
  RETURN_IF_ERROR(CheckContents(messages));
  std::string text = bos_text_;
  DeepSeekV3Renderer renderer(&text);
  // System messages come first, wherever they stand.
  for (const ChatMessage& message : messages) {
    if (message.role == "system") renderer.System(*message.content);
  }
  for (const ChatMessage& message : messages) RenderMessage(message, &renderer);
  renderer.End(add_generation_prompt);
  return text;
}

}  // namespace sluice
