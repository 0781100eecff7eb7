#include "src/text/tokenizer.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "src/text/utf8.h"
#include "tests/src/text/small_vocabulary.h"

namespace sluice {
namespace {

using IdList = std::vector<int32_t>;

Tokenizer Small(absl::string_view pre = "deepseek-v3") {
  auto tokenizer = Tokenizer::Create(SmallVocabulary(pre));
  REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().ToString());
  return *std::move(tokenizer);
}

IdList Encode(absl::string_view text, ParseSpecial mode = ParseSpecial::kAll) { return *Small().Encode(text, mode); }

// The metadata of the small vocabulary with one key replaced, or gone.
GgufMetadata With(const char* key, GgufValue value) {
  GgufMetadata metadata = SmallVocabulary("gpt-2");
  metadata.Erase(key);
  REQUIRE(metadata.Insert(key, std::move(value)));
  return metadata;
}
GgufMetadata Without(const char* key) {
  GgufMetadata metadata = SmallVocabulary("gpt-2");
  metadata.Erase(key);
  return metadata;
}

void CheckRefused(const GgufMetadata& metadata, const std::string& words) {
  const auto tokenizer = Tokenizer::Create(metadata);
  CAPTURE(words);
  REQUIRE_FALSE(tokenizer.ok());
  CHECK(tokenizer.status().code() != absl::StatusCode::kInvalidArgument);
  const std::string message(tokenizer.status().message());
  CHECK_MESSAGE(message.find(words) != std::string::npos, message);
}

TEST_CASE("merges join by rank and leftmost first") {
  CHECK(Encode("the") == IdList{kSmallThe});
  CHECK(Encode("a the") == IdList{'a', kSmallSpaceThe});
  CHECK(Encode("aaa") == IdList{kSmallAa, 'a'});
  CHECK(Encode("aaaaaaa") == IdList{kSmallAaaa, kSmallAa, 'a'});
  CHECK(Encode("\xC3\xA9") == IdList{kSmallEAcute});
  CHECK(Encode("").empty());
}

TEST_CASE("added tokens are recognised longest first and as the mode allows") {
  CHECK(Encode("a<bos><think>er>b") == IdList{'a', kSmallBos, kSmallThinkMore, 'b'});
  CHECK(Encode("<think><think>e") == IdList{kSmallThink, kSmallThink, 'e'});
  CHECK(Encode("<bos><think>", ParseSpecial::kUser) == IdList{'<', 'b', 'o', 's', '>', kSmallThink});
  CHECK(Encode("<eos>", ParseSpecial::kNone) == IdList{'<', 'e', 'o', 's', '>'});
  CHECK(Encode("<<bos>") == IdList{'<', kSmallBos});
  CHECK(Encode("<bo") == IdList{'<', 'b', 'o'});
}

TEST_CASE("unused tokens never come out of encoding") {
  for (int32_t id : Encode("[PAD0]")) CHECK(id != kSmallPad);
}

TEST_CASE("ill-formed input is encoded as replacement characters") {
  CHECK(Encode("a\xC0\xAFz") == Encode("a\xEF\xBF\xBD\xEF\xBF\xBDz"));
  CHECK(Encode("\xED\xA0\x80") == Encode("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
}

TEST_CASE("qwen2 composes marks, but not across an added token") {
  const Tokenizer tokenizer = Small("qwen2");
  CHECK(*tokenizer.Encode("e\xCC\x81", ParseSpecial::kAll) == IdList{kSmallEAcute});
  CHECK(*tokenizer.Encode("e<think>\xCC\x81", ParseSpecial::kAll) == IdList{'e', kSmallThink, 0xCC, 0x81});
  CHECK(*Small("gpt-2").Encode("e\xCC\x81", ParseSpecial::kAll) == IdList{'e', 0xCC, 0x81});
}

TEST_CASE("decoding strings bytes together and may leave special tokens out") {
  const Tokenizer tokenizer = Small();
  const IdList ids = {kSmallBos, kSmallSpaceThe, 0xE4, kSmallEos, 0xBD, 0xA0, kSmallThink};
  CHECK(*tokenizer.Decode(ids) == "<bos> the\xEF\xBF\xBD<eos>\xEF\xBF\xBD\xEF\xBF\xBD<think>");
  CHECK(*tokenizer.Decode(ids, false) == " the\xE4\xBD\xA0<think>");
  CHECK(*tokenizer.Decode({}) == "");
}

TEST_CASE("decoding an id outside the vocabulary names id and limit") {
  const Tokenizer tokenizer = Small();
  for (int32_t id : {-1, static_cast<int32_t>(kSmallSize)}) {
    const auto text = tokenizer.Decode({id});
    CHECK(text.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(text.status().message()).find(std::to_string(kSmallSize - 1)) != std::string::npos);
  }
}

TEST_CASE("the special ids come from the metadata") {
  const Tokenizer tokenizer = Small();
  CHECK(tokenizer.vocab_size() == kSmallSize);
  CHECK(tokenizer.bos_id() == kSmallBos);
  CHECK(tokenizer.eos_id() == kSmallEos);
  CHECK(tokenizer.add_bos());
  CHECK(tokenizer.IsEndOfGeneration(kSmallEos));
  CHECK(tokenizer.IsEndOfGeneration(kSmallTurn));
  CHECK_FALSE(tokenizer.IsEndOfGeneration(kSmallBos));
  CHECK(tokenizer.IsSpecial(kSmallBos));
  CHECK_FALSE(tokenizer.IsSpecial(kSmallThink));
  CHECK(tokenizer.memory_bytes() > 1000);
}

TEST_CASE("token types may be absent and then all tokens are normal") {
  const auto tokenizer = Tokenizer::Create(Without("tokenizer.ggml.token_type"));
  REQUIRE(tokenizer.ok());
  CHECK(tokenizer->Encode("<bos>", ParseSpecial::kAll)->size() == 5);
}

TEST_CASE("a tokenizer outlives the metadata and may be moved") {
  auto metadata = std::make_unique<GgufMetadata>(SmallVocabulary("gpt-2"));
  Tokenizer first = *Tokenizer::Create(*metadata);
  metadata.reset();
  const Tokenizer second = std::move(first);
  CHECK(*second.Encode("the<eos>", ParseSpecial::kAll) == IdList{kSmallThe, kSmallEos});
}

TEST_CASE("missing keys are refused by name") {
  for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
                          "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id"}) {
    CheckRefused(Without(key), key);
  }
}

TEST_CASE("tokenizers that are not known are refused with what is known") {
  CheckRefused(With("tokenizer.ggml.model", StringValue("llama")),
               "tokenizer.ggml.model: unknown tokenizer model 'llama'");
  CheckRefused(With("tokenizer.ggml.pre", StringValue("llama-bpe")), "known ones are");
}

TEST_CASE("hostile vocabularies are refused by key") {
  std::vector<std::string> short_list = SmallVocabularyTokens();
  short_list.pop_back();
  CheckRefused(With("tokenizer.ggml.tokens", StringsValue(short_list)), "tokenizer.ggml.token_type: 268 entries");
  CheckRefused(With("tokenizer.ggml.tokens", StringsValue({})), "tokenizer.ggml.tokens: 0 tokens");
  std::vector<std::string> no_space = SmallVocabularyTokens();
  no_space[' '] = "nope";
  CheckRefused(With("tokenizer.ggml.tokens", StringsValue(no_space)), "no token for the byte 0x20");
  std::vector<int64_t> types = SmallVocabularyTypes();
  types[9] = 77;
  CheckRefused(With("tokenizer.ggml.token_type", IntsValue(types)), "unknown type 77 of token 9");
}

TEST_CASE("hostile merges are refused by entry") {
  const std::pair<const char*, const char*> bad[] = {
      {"", "must be two tokens"},    {"th", "must be two tokens"},      {"t ", "must be two tokens"},
      {" t", "must be two tokens"},  {"t zz", "not in the vocabulary"}, {"t t", "joins to a token"},
      {"[ PAD0]", "not in the voc"}, {"t  h", "not in the vocabulary"},
  };
  for (const auto& [merge, words] : bad) {
    const GgufMetadata metadata = With("tokenizer.ggml.merges", StringsValue({"t h", merge}));
    CheckRefused(metadata, "tokenizer.ggml.merges: entry 1");
    CheckRefused(metadata, words);
  }
}

TEST_CASE("hostile special ids are refused by key") {
  for (const char* key :
       {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    CheckRefused(With(key, UintValue(kSmallSize)), key);
    CheckRefused(With(key, UintValue(uint64_t{1} << 40)), key);
    CheckRefused(With(key, StringValue("0")), key);
  }
}

TEST_CASE("bytes that no text holds may be missing") {
  std::vector<std::string> tokens = SmallVocabularyTokens();
  for (int byte : {0xC0, 0xC1, 0xF5, 0xFF}) tokens[byte] = "unused" + std::to_string(byte);
  const auto tokenizer = Tokenizer::Create(With("tokenizer.ggml.tokens", StringsValue(tokens)));
  REQUIRE(tokenizer.ok());
  const IdList ids = *tokenizer->Encode("\xC0\xFF", ParseSpecial::kAll);
  CHECK(ids.size() == 6);
  for (int32_t id : ids) CHECK(id >= 0);
}

TEST_CASE("a hostile megabyte encodes in time") {
  const Tokenizer tokenizer = Small();
  const std::string spaces(1 << 20, ' ');
  const std::string letters(1 << 20, 'a');
  std::string openings;
  while (openings.size() < (1 << 20)) openings += "<think>e";
  CHECK(tokenizer.Encode(spaces, ParseSpecial::kAll)->size() == spaces.size());
  CHECK(tokenizer.Encode(letters, ParseSpecial::kAll)->size() == letters.size() / 4);
  CHECK(tokenizer.Encode(openings, ParseSpecial::kAll)->size() == openings.size() / 4);
}

}  // namespace
}  // namespace sluice
