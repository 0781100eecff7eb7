// Arbitrary bytes as a line of a batch's input and of its output: an error that
// fits its line, or a request whose answer, made of the same bytes, keeps what
// it promises and reads back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "nlohmann/json.hpp"
#include "src/batch/batch_request.h"
#include "src/batch/batch_response.h"
#include "src/batch/completion.h"
#include "src/text/utf8.h"
#include "tests/src/text/small_vocabulary.h"

namespace sluice {
namespace {

const Tokenizer& Small() {
  static const auto* const tokenizer = new Tokenizer(*Tokenizer::Create(SmallVocabulary("gpt-2")));
  return *tokenizer;
}

void CheckRequest(const BatchRequest& request) {
  SLUICE_CHECK(request.temperature >= 0 && request.temperature <= 2);
  SLUICE_CHECK(request.top_p > 0 && request.top_p <= 1);
  SLUICE_CHECK(request.max_tokens.value_or(1) >= 1);
  SLUICE_CHECK(request.top_logprobs >= BatchRequest::kNoLogprobs && request.top_logprobs <= 20);
  const bool has_text = request.prompt.has_value();
  const bool is_chat = request.endpoint == Endpoint::kChatCompletions;
  SLUICE_CHECK(is_chat == !request.messages.empty());
  SLUICE_CHECK(is_chat ? !has_text && request.prompt_tokens.empty() : has_text == request.prompt_tokens.empty());
}

void CheckLine(const ResponseContext& context, const std::string& line, bool is_error, uint64_t tokens) {
  SLUICE_CHECK(line.find('\n') == line.size() - 1);
  SLUICE_CHECK(nlohmann::json::accept(line));
  const absl::optional<DoneLine> done = ParseOutputLine(line);
  SLUICE_CHECK(done.has_value() && done->line == context.line && done->custom_id == context.custom_id);
  SLUICE_CHECK(done->is_error == is_error && done->completion_tokens == tokens);
}

// Bytes stand for tokens, and for the tokens behind them.
Completion Answer(const BatchRequest& request, absl::string_view bytes) {
  const int64_t max_tokens = std::min<int64_t>(request.max_tokens.value_or(64), 64);
  Completion completion(request, 3, max_tokens, request.seed.value_or(0), &Small());
  std::string before;
  for (size_t i = 0; !completion.finished(); ++i) {
    const int32_t byte = i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : kSmallEos;
    completion.Append({byte % 16 == 15 ? 256 + byte / 16 : byte, -1.5f, {{byte, -1}, {kSmallSize, -2}}});
    SLUICE_CHECK(completion.text().compare(0, before.size(), before) == 0);
    before = completion.text();
  }
  return completion;
}

void CheckAnswer(const Completion& completion) {
  SLUICE_CHECK(IsWellFormedUtf8(completion.text()));
  SLUICE_CHECK(completion.finish_reason() == "stop" || completion.finish_reason() == "length");
  for (const std::string& stop : completion.request().stop) {
    SLUICE_CHECK(completion.text().find(stop) == std::string::npos);
  }
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sluice::ParsedLine;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  (void)sluice::ParseOutputLine(input);
  (void)sluice::ParseOutputLine(absl::StrCat("{\"id\":\"batch_req_", input));
  const ParsedLine parsed = sluice::ParseBatchLine(input);
  sluice::ResponseContext context;
  context.line = 1 + size;
  context.custom_id = parsed.custom_id;
  if (!parsed.request.has_value()) {
    SLUICE_CHECK(!parsed.error.message.empty() && parsed.error.message.size() < 1000);
    sluice::CheckLine(context, sluice::ErrorLine(context, parsed.error), true, 0);
    return 0;
  }
  sluice::CheckRequest(*parsed.request);
  const sluice::Completion completion = sluice::Answer(*parsed.request, input);
  sluice::CheckAnswer(completion);
  sluice::CheckLine(context, sluice::ResponseLine(context, completion, sluice::Small()), false,
                    completion.tokens().size());
  return 0;
}
