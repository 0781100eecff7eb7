#include "src/text/chat_template.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/src/text/small_vocabulary.h"
#include "tests/src/text/text_test_data.h"

namespace sluice {
namespace {

constexpr char kVocab[] = "tokenizers/deepseek-v3/vocab.gguf";

struct DeepSeek {
  GgufMetadata metadata = ReadMetadata(kVocab);
  Tokenizer tokenizer = *Tokenizer::Create(metadata);

  ChatTemplate Template() const {
    auto made = ChatTemplate::FromMetadata(metadata, tokenizer);
    REQUIRE(made.ok());
    REQUIRE(made->has_value());
    return **made;
  }
};

// False for content that is no string, which a ChatMessage cannot hold.
bool ToMessages(const Json& json, std::vector<ChatMessage>* messages) {
  for (const Json& item : json) {
    ChatMessage message;
    message.role = Text(item["role"]);
    const Json content = item.contains("content") ? item["content"] : Json();
    if (content.is_string()) message.content = Text(content);
    if (!content.is_string() && !content.is_null()) return false;
    for (const Json& call : item.contains("tool_calls") ? item["tool_calls"] : Json::array()) {
      if (!call["function"]["arguments"].is_string()) return false;
      message.tool_calls.push_back(
          {Text(call["type"]), Text(call["function"]["name"]), Text(call["function"]["arguments"])});
    }
    messages->push_back(message);
  }
  return true;
}

TEST_CASE("all conversations of deepseek-v3 render and encode exactly") {
  SKIP_WITHOUT_SHARED(kVocab);
  const DeepSeek deepseek;
  const ChatTemplate chat_template = deepseek.Template();
  int cases = 0;
  for (const Json& line : ReadJsonLines("tokenizers/deepseek-v3/chat_cases.jsonl")) {
    const std::string id = Text(line["id"]);
    CAPTURE(id);
    std::vector<ChatMessage> messages;
    REQUIRE(ToMessages(line["messages"], &messages));
    const auto rendered = chat_template.Render(messages, line["add_generation_prompt"].get<bool>());
    REQUIRE(rendered.ok());
    CHECK(*rendered == Text(line["rendered"]));
    CHECK(*deepseek.tokenizer.Encode(*rendered, ParseSpecial::kAll) == Ids(line["ids"]));
    ++cases;
  }
  CHECK(cases >= 62);
}

TEST_CASE("odd conversations render as the reference or are refused") {
  SKIP_WITHOUT_SHARED(kVocab);
  const ChatTemplate chat_template = DeepSeek().Template();
  int rendered_cases = 0;
  int refused = 0;
  for (const Json& line : ReadJsonLines("tokenizers/deepseek-v3/chat_odd_cases.jsonl")) {
    const std::string name = Text(line["name"]);
    CAPTURE(name);
    std::vector<ChatMessage> messages;
    const bool holds = ToMessages(line["messages"], &messages);
    const auto rendered = chat_template.Render(messages, line["add_generation_prompt"].get<bool>());
    if (line.contains("rendered")) {
      REQUIRE(holds);
      CHECK(*rendered == Text(line["rendered"]));
      ++rendered_cases;
    } else if (name != "assistant_content_missing") {  // the same as null here
      CHECK((!holds || rendered.status().code() == absl::StatusCode::kInvalidArgument));
      ++refused;
    }
  }
  CHECK(rendered_cases >= 3);
  CHECK(refused >= 3);
}

TEST_CASE("a model without a template is raw") {
  const GgufMetadata metadata = SmallVocabulary("deepseek-v3");
  const Tokenizer tokenizer = *Tokenizer::Create(metadata);
  const auto made = ChatTemplate::FromMetadata(metadata, tokenizer);
  REQUIRE(made.ok());
  CHECK_FALSE(made->has_value());
}

TEST_CASE("a template that is not known asks for --raw") {
  GgufMetadata metadata = SmallVocabulary("deepseek-v3");
  metadata.Insert("tokenizer.chat_template", StringValue("{{ bos_token }}{{ messages[0].content }}"));
  const auto made = ChatTemplate::FromMetadata(metadata, *Tokenizer::Create(metadata));
  CHECK(made.status() ==
        absl::FailedPreconditionError("the chat template of this model is not supported yet; use --raw"));
}

TEST_CASE("a changed edition of the known template is not taken for it") {
  SKIP_WITHOUT_SHARED(kVocab);
  DeepSeek deepseek;
  std::string text = *deepseek.metadata.GetString("tokenizer.chat_template");
  const auto make = [&](const std::string& changed) {
    deepseek.metadata.Erase("tokenizer.chat_template");
    deepseek.metadata.Insert("tokenizer.chat_template", StringValue(changed));
    return ChatTemplate::FromMetadata(deepseek.metadata, deepseek.tokenizer).ok();
  };
  CHECK(make(text + "\n"));
  CHECK_FALSE(make(text + " "));
  text[100] ^= 1;
  CHECK_FALSE(make(text));
}

TEST_CASE("templates of other models are refused") {
  SKIP_WITHOUT_SHARED("tokenizers/templates/deepseek-v3.1.jinja");
  GgufMetadata metadata = ReadMetadata("tokenizers/qwen3/vocab.gguf");
  const Tokenizer tokenizer = *Tokenizer::Create(metadata);
  CHECK_FALSE(ChatTemplate::FromMetadata(metadata, tokenizer).ok());
  metadata.Erase("tokenizer.chat_template");
  metadata.Insert("tokenizer.chat_template",
                  StringValue(ReadFileToString(SharedPath("tokenizers/templates/deepseek-v3.1.jinja"))));
  CHECK_FALSE(ChatTemplate::FromMetadata(metadata, tokenizer).ok());
}

}  // namespace
}  // namespace sluice
