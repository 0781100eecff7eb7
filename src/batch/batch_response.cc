#include "src/batch/batch_response.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "src/batch/answer_logprobs.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::string_view kIdPrefix = "batch_req_";

std::string LineId(absl::string_view prefix, uint64_t line) { return absl::StrFormat("%s%09d", prefix, line); }

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json IdOrNull(const absl::optional<std::string>& id) { return id.has_value() ? Json(*id) : Json(); }
Json TextOrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::string ChoiceJson(const Completion& completion, const Tokenizer& tokenizer) {
  const bool is_chat = completion.request().endpoint == Endpoint::kChatCompletions;
  const Json message = {{"role", "assistant"}, {"content", completion.text()}};
  const std::string answer = is_chat ? "\"message\":" + Dump(message) : "\"text\":" + Dump(completion.text());
  return absl::StrCat("{\"index\":0,", answer, ",\"logprobs\":", LogprobsJson(completion, tokenizer),
                      ",\"finish_reason\":", Dump(completion.finish_reason()), "}");
}

Json UsageJson(const Completion& completion) {
  const int64_t tokens = static_cast<int64_t>(completion.tokens().size());
  return {{"prompt_tokens", completion.prompt_tokens()},
          {"completion_tokens", tokens},
          {"total_tokens", completion.prompt_tokens() + tokens}};
}

std::string AnswerJson(const ResponseContext& context, const Completion& completion, const Tokenizer& tokenizer) {
  const bool is_chat = completion.request().endpoint == Endpoint::kChatCompletions;
  const std::string& model = completion.request().model;
  return absl::StrCat("{\"id\":", Dump(LineId(is_chat ? "chatcmpl-" : "cmpl-", context.line)),
                      ",\"object\":", is_chat ? "\"chat.completion\"" : "\"text_completion\"",
                      ",\"created\":", context.created_unix,
                      ",\"model\":", Dump(model.empty() ? std::string(context.model) : model), ",\"choices\":[",
                      ChoiceJson(completion, tokenizer), "],\"usage\":", Dump(UsageJson(completion)), "}");
}

std::string OutputLine(const ResponseContext& context, int status_code, absl::string_view body,
                       absl::string_view error) {
  return absl::StrCat(
      "{\"id\":", Dump(LineId(kIdPrefix, context.line)), ",\"custom_id\":", Dump(IdOrNull(context.custom_id)),
      ",\"response\":{\"status_code\":", status_code, ",\"request_id\":", Dump(LineId("req_", context.line)),
      ",\"body\":", body, "},\"error\":", error, "}\n");
}

}  // namespace

std::string ResponseLine(const ResponseContext& context, const Completion& completion, const Tokenizer& tokenizer) {
  return OutputLine(context, 200, AnswerJson(context, completion, tokenizer), "null");
}

std::string ErrorLine(const ResponseContext& context, const ApiError& error) {
  const Json body = {{"error",
                      {{"message", error.message},
                       {"type", error.type},
                       {"param", TextOrNull(error.param)},
                       {"code", TextOrNull(error.code)}}}};
  // Told in both places where readers of the format look for errors.
  const Json summary = {{"code", error.code.empty() ? "invalid_request" : error.code}, {"message", error.message}};
  return OutputLine(context, 400, Dump(body), Dump(summary));
}

}  // namespace sluice
