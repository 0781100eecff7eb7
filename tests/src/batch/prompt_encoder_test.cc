#include "src/batch/prompt_encoder.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/src/text/small_vocabulary.h"
#include "tests/src/text/text_test_data.h"

namespace sluice {
namespace {

using Ids = std::vector<int32_t>;

constexpr char kDeepSeek[] = "tokenizers/deepseek-v3/vocab.gguf";

BatchRequest Completions(std::string prompt) {
  BatchRequest request;
  request.endpoint = Endpoint::kCompletions;
  request.prompt = std::move(prompt);
  return request;
}

BatchRequest Tokens(Ids tokens) {
  BatchRequest request;
  request.endpoint = Endpoint::kCompletions;
  request.prompt_tokens = std::move(tokens);
  return request;
}

BatchRequest Chat(std::vector<std::pair<std::string, std::string>> messages) {
  BatchRequest request;
  for (const auto& [role, content] : messages) request.messages.push_back({role, content, {}});
  return request;
}

// A model of the small vocabulary.
class SmallModel {
 public:
  explicit SmallModel(GgufMetadata metadata, int64_t vocab = kSmallSize)
      : tokenizer_(*Tokenizer::Create(metadata)), encoder_(metadata, &tokenizer_, vocab) {}

  Ids Encode(const BatchRequest& request) const {
    const auto encoded = encoder_.Encode(request);
    if (const auto* error = absl::get_if<ApiError>(&encoded)) FAIL(error->message);
    return absl::get<Ids>(encoded);
  }
  ApiError Refuse(const BatchRequest& request) const {
    const auto encoded = encoder_.Encode(request);
    REQUIRE(absl::holds_alternative<ApiError>(encoded));
    return absl::get<ApiError>(encoded);
  }

 private:
  Tokenizer tokenizer_;
  PromptEncoder encoder_;
};

GgufMetadata WithoutBos() {
  GgufMetadata metadata = SmallVocabulary("gpt-2");
  metadata.Erase("tokenizer.ggml.add_bos_token");
  metadata.Insert("tokenizer.ggml.add_bos_token", BoolValue(false));
  return metadata;
}

TEST_CASE("a text is encoded as run --raw does, BOS in front where the model wants one") {
  CHECK(SmallModel(SmallVocabulary("gpt-2")).Encode(Completions("the<think>")) ==
        Ids{kSmallBos, kSmallThe, kSmallThink});
  CHECK(SmallModel(WithoutBos()).Encode(Completions("the")) == Ids{kSmallThe});
}

TEST_CASE("tokens are taken as they are") {
  const SmallModel model(SmallVocabulary("gpt-2"));
  CHECK(model.Encode(Tokens({5, kSmallPad, 0})) == Ids{5, kSmallPad, 0});
}

TEST_CASE("a token beyond the model's rows is refused with its number") {
  const SmallModel model(SmallVocabulary("gpt-2"), /*vocab=*/kSmallSize + 2);
  CHECK(model.Encode(Tokens({kSmallSize + 1})) == Ids{kSmallSize + 1});
  for (const int32_t token : {kSmallSize + 2, INT32_MAX}) {
    const ApiError error = model.Refuse(Tokens({5, token}));
    CHECK(error.message.find(std::to_string(token)) != std::string::npos);
    CHECK(error.param == "prompt");
  }
}

TEST_CASE("a prompt of nothing is refused") {
  CHECK(SmallModel(WithoutBos()).Refuse(Completions("")).message == "the prompt is empty");
  CHECK(SmallModel(SmallVocabulary("gpt-2")).Encode(Completions("")) == Ids{kSmallBos});
}

TEST_CASE("a model without a template refuses conversations and says where to send them") {
  const ApiError error = SmallModel(SmallVocabulary("gpt-2")).Refuse(Chat({{"user", "hello"}}));
  CHECK(error.message == "this model has no chat template; send its prompts to /v1/completions");
  CHECK(error.param == "messages");
}

TEST_CASE("a template that is not understood fails conversations alone") {
  GgufMetadata metadata = SmallVocabulary("gpt-2");
  metadata.Insert("tokenizer.chat_template", StringValue("{{ messages }}"));
  const SmallModel model(std::move(metadata));
  const ApiError error = model.Refuse(Chat({{"user", "hello"}}));
  CHECK(error.message.find("/v1/completions") != std::string::npos);
  CHECK(error.message.find("--raw") == std::string::npos);
  CHECK(error.code == "unsupported_chat_template");
  CHECK(model.Encode(Completions("the")) == Ids{kSmallBos, kSmallThe});
}

TEST_CASE("a conversation is rendered with the model's template and one BOS") {
  SKIP_WITHOUT_SHARED(kDeepSeek);
  const GgufMetadata metadata = ReadMetadata(kDeepSeek);
  const Tokenizer tokenizer = *Tokenizer::Create(metadata);
  const PromptEncoder encoder(metadata, &tokenizer, 129280);
  const auto encoded = encoder.Encode(Chat({{"system", "Be brief."}, {"user", "Why?"}}));
  REQUIRE(absl::holds_alternative<Ids>(encoded));
  CHECK(absl::get<Ids>(encoded) ==
        *tokenizer.Encode("<｜begin▁of▁sentence｜>Be brief.<｜User｜>Why?<｜Assistant｜>", ParseSpecial::kAll));
  // One that the template has no form for.
  BatchRequest odd = Chat({{"user", "Why?"}});
  odd.messages[0].content.reset();
  const auto refused = encoder.Encode(odd);
  REQUIRE(absl::holds_alternative<ApiError>(refused));
  CHECK(absl::get<ApiError>(refused).param == "messages");
  CHECK(absl::get<ApiError>(refused).code.empty());
}

}  // namespace
}  // namespace sluice
