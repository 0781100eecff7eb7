#include "src/batch/batch_prompt.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

// The fields of entry `index` of the list `name` of `parent`.
JsonFields Entry(const JsonFields& parent, const char* name, size_t index, const Json& entry) {
  return JsonFields(entry, absl::StrCat(parent.where(), name, "[", index, "]."), parent.error());
}

bool RefuseEntry(const JsonFields& parent, const char* name, size_t index, absl::string_view expected,
                 const Json& entry) {
  const std::string entry_name = absl::StrCat(name, "[", index, "]");
  return parent.Fail(entry_name,
                     absl::StrCat(parent.where(), entry_name, " must be ", expected, ", not ", DescribeJson(entry)),
                     "invalid_value");
}

bool AppendPart(const JsonFields& part, bool is_first, std::string* content) {
  std::string type, text;
  if (!part.Read("type", &type)) return false;
  if (type.empty()) return part.Refuse("type", "\"text\"");
  if (type != "text") {
    return part.Fail("type",
                     absl::StrCat(part.where(), "type \"", type.substr(0, 40),
                                  "\" is not supported: only parts of type \"text\" are"),
                     "unsupported_value");
  }
  if (part.Find("text") == nullptr) return part.Refuse("text", "a string");
  if (!part.Read("text", &text)) return false;
  absl::StrAppend(content, is_first ? "" : "\n", text);
  return true;
}

bool ReadParts(const JsonFields& message, const Json& parts, std::string* content) {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].is_object()) return RefuseEntry(message, "content", i, "an object", parts[i]);
    if (!AppendPart(Entry(message, "content", i, parts[i]), i == 0, content)) return false;
  }
  return true;
}

bool ReadContent(const JsonFields& message, ChatMessage* out) {
  const Json* content = message.Find("content");
  if (content == nullptr) return true;
  out->content.emplace();
  if (content->is_array()) return ReadParts(message, *content, &*out->content);
  if (!content->is_string()) return message.Refuse("content", "a string, a list of text parts or null");
  return message.Read("content", &*out->content);
}

bool ReadRole(const JsonFields& message, std::string* role) {
  if (!message.Read("role", role)) return false;
  if (*role == "developer") *role = "system";
  for (const char* known : {"system", "user", "assistant", "tool"}) {
    if (*role == known) return true;
  }
  return message.Refuse("role", "system, developer, user, assistant or tool");
}

bool ReadToolCall(const JsonFields& call, ChatToolCall* out) {
  if (!call.Read("type", &out->type)) return false;
  if (out->type != "function") return call.Refuse("type", "\"function\"");
  const Json* function = call.Find("function");
  if (function == nullptr || !function->is_object()) return call.Refuse("function", "an object");
  const JsonFields fields(*function, call.where() + "function.", call.error());
  if (!fields.Read("name", &out->name) || !fields.Read("arguments", &out->arguments)) return false;
  if (out->name.empty()) return fields.Refuse("name", "a name");
  return fields.Find("arguments") != nullptr || fields.Refuse("arguments", "JSON text in a string");
}

bool ReadToolCalls(const JsonFields& message, ChatMessage* out) {
  // Its older form: leaving it out would change what the model is shown.
  if (message.Find("function_call") != nullptr) {
    return message.Fail("function_call", message.where() + "function_call is not supported: use tool_calls",
                        "unsupported_parameter");
  }
  const Json* calls = message.Find("tool_calls");
  if (calls == nullptr) return true;
  if (!calls->is_array()) return message.Refuse("tool_calls", "a list");
  if (!calls->empty() && out->role != "assistant") {
    return message.Fail("tool_calls", message.where() + "tool_calls may stand in messages of the assistant alone",
                        "invalid_value");
  }
  for (size_t i = 0; i < calls->size(); ++i) {
    const Json& call = (*calls)[i];
    if (!call.is_object()) return RefuseEntry(message, "tool_calls", i, "an object", call);
    if (!ReadToolCall(Entry(message, "tool_calls", i, call), &out->tool_calls.emplace_back())) return false;
  }
  return true;
}

bool ReadMessage(const JsonFields& message, ChatMessage* out) {
  return ReadRole(message, &out->role) && ReadContent(message, out) && ReadToolCalls(message, out);
}

bool IsTokenId(const Json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(INT32_MAX);
}

bool ReadTokens(const JsonFields& body, const Json& ids, BatchRequest* request) {
  request->prompt_tokens.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!IsTokenId(ids[i])) return RefuseEntry(body, "prompt", i, "a token id", ids[i]);
    request->prompt_tokens.push_back(ids[i].get<int32_t>());
  }
  return true;
}

// A text or a list of ids in a list is a batch of prompts, which may hold one.
bool IsBatch(const Json& prompt) {
  return prompt.is_array() && !prompt.empty() && (prompt[0].is_string() || prompt[0].is_array());
}

}  // namespace

bool ReadMessages(const JsonFields& body, BatchRequest* request) {
  const Json* messages = body.Find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    return body.Refuse("messages", "a list with at least one message");
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    const Json& message = (*messages)[i];
    if (!message.is_object()) return RefuseEntry(body, "messages", i, "an object", message);
    if (!ReadMessage(Entry(body, "messages", i, message), &request->messages.emplace_back())) return false;
  }
  return true;
}

bool ReadPrompt(const JsonFields& body, BatchRequest* request) {
  const Json* prompt = body.Find("prompt");
  if (prompt != nullptr && IsBatch(*prompt)) {
    if (prompt->size() > 1) {
      return body.Fail("prompt",
                       absl::StrCat("prompt holds ", prompt->size(), " prompts: give each one a line of its own"),
                       "unsupported_value");
    }
    prompt = &(*prompt)[0];
  }
  if (prompt != nullptr && prompt->is_string()) {
    request->prompt = prompt->get_ref<const std::string&>();
    return true;
  }
  if (prompt == nullptr || !prompt->is_array() || prompt->empty()) {
    return body.Refuse("prompt", "a string or a list of token ids");
  }
  return ReadTokens(body, *prompt, request);
}

}  // namespace sluice
