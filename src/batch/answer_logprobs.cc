#include "src/batch/answer_logprobs.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "src/text/utf8.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinities; a probability of zero is told as the API does.
constexpr float kLowestLogprob = -9999;

double Finite(float logprob) { return std::max(logprob, kLowestLogprob); }

absl::string_view BytesOf(const Tokenizer& tokenizer, int32_t token) {
  return token >= 0 && token < tokenizer.vocab_size() ? tokenizer.TokenBytes(token) : absl::string_view();
}
std::string TextOf(const Tokenizer& tokenizer, int32_t token) { return ReplaceIllFormed(BytesOf(tokenizer, token)); }

size_t Characters(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// Where each token that is told begins in the text, in characters.
std::vector<size_t> TextOffsets(const Completion& completion, const Tokenizer& tokenizer) {
  absl::Span<const ChosenToken> tokens = completion.tokens();
  const bool ends = !tokens.empty() && !completion.request().ignore_eos && !completion.is_cut() &&
                    tokenizer.IsEndOfGeneration(tokens.back().token);
  if (ends) tokens.remove_suffix(1);
  std::vector<size_t> offsets;
  Utf8Stream stream;
  size_t bytes = 0;
  size_t characters = 0;
  for (const ChosenToken& token : tokens) {
    if (completion.is_cut() && bytes >= completion.text().size()) break;
    offsets.push_back(characters);
    const std::string text = stream.Append(AnswerBytes(tokenizer, token.token));
    bytes += text.size();
    characters += Characters(text);
  }
  return offsets;
}

void AppendJson(const Json& json, std::string* out) {
  absl::StrAppend(out, out->empty() ? "" : ",", json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json ChatEntry(const Tokenizer& tokenizer, int32_t token, float logprob) {
  Json bytes = Json::array();
  for (char byte : BytesOf(tokenizer, token)) bytes.push_back(static_cast<uint8_t>(byte));
  return {{"token", TextOf(tokenizer, token)}, {"logprob", Finite(logprob)}, {"bytes", std::move(bytes)}};
}

std::string ChatLogprobs(const Completion& completion, const Tokenizer& tokenizer, size_t told) {
  std::string entries;
  for (const ChosenToken& token : completion.tokens().first(told)) {
    Json entry = ChatEntry(tokenizer, token.token, token.logprob);
    Json& top = entry["top_logprobs"] = Json::array();
    for (const TokenLogprob& other : token.top) top.push_back(ChatEntry(tokenizer, other.token, other.logprob));
    AppendJson(entry, &entries);
  }
  return absl::StrCat("{\"content\":[", entries, "]}");
}

// By text: of tokens whose text is the same, the likeliest. The chosen one is
// told even where it is not among the likeliest.
Json TopByText(const Tokenizer& tokenizer, const ChosenToken& token) {
  Json top = Json::object();
  for (const TokenLogprob& other : token.top) top.emplace(TextOf(tokenizer, other.token), Finite(other.logprob));
  top.emplace(TextOf(tokenizer, token.token), Finite(token.logprob));
  return top;
}

std::string TextLogprobs(const Completion& completion, const Tokenizer& tokenizer, const std::vector<size_t>& offsets) {
  std::string texts, logprobs, tops;
  for (const ChosenToken& token : completion.tokens().first(offsets.size())) {
    AppendJson(TextOf(tokenizer, token.token), &texts);
    AppendJson(Finite(token.logprob), &logprobs);
    if (completion.request().top_logprobs > 0) AppendJson(TopByText(tokenizer, token), &tops);
  }
  const std::string top_list = completion.request().top_logprobs > 0 ? absl::StrCat("[", tops, "]") : "null";
  return absl::StrCat("{\"tokens\":[", texts, "],\"token_logprobs\":[", logprobs, "],\"top_logprobs\":", top_list,
                      ",\"text_offset\":", Json(offsets).dump(), "}");
}

}  // namespace

std::string LogprobsJson(const Completion& completion, const Tokenizer& tokenizer) {
  if (completion.request().top_logprobs == BatchRequest::kNoLogprobs) return "null";
  const std::vector<size_t> offsets = TextOffsets(completion, tokenizer);
  const bool is_chat = completion.request().endpoint == Endpoint::kChatCompletions;
  return is_chat ? ChatLogprobs(completion, tokenizer, offsets.size()) : TextLogprobs(completion, tokenizer, offsets);
}

}  // namespace sluice
