// The published tokenizers, case by case, from their GGUF metadata alone.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "src/text/tokenizer.h"
#include "src/text/utf8.h"
#include "src/text/utf8_stream.h"
#include "tests/src/text/text_test_data.h"

namespace sluice {
namespace {

constexpr const char* kModels[] = {"deepseek-v3", "qwen3"};

std::string Folder(const std::string& model) { return "tokenizers/" + model + "/"; }

// Ids that tokenizer.json marks special: not quite the CONTROL tokens of a GGUF file.
std::set<int32_t> ReadMarkedSpecial(const std::string& model) {
  // Not the ordered kind: finding a place among 150,000 keys would take minutes.
  const nlohmann::json json =
      nlohmann::json::parse(ReadFileToString(SharedPath(Folder(model) + "tokenizer.json")), nullptr, false);
  REQUIRE(json.is_object());
  std::set<int32_t> ids;
  for (const auto& added : json["added_tokens"]) {
    if (added["special"].get<bool>()) ids.insert(added["id"].get<int32_t>());
  }
  REQUIRE(ids.size() > 10);
  return ids;
}

const Json& FieldOr(const Json& json, const char* field, const char* fallback) {
  return json.contains(field) ? json[field] : json[fallback];
}

void CheckEncoding(const Tokenizer& tokenizer, const Json& line) {
  const std::string id = Text(line["id"]);
  CAPTURE(id);
  const std::string input = line.contains("input_hex") ? BytesOfHex(line["input_hex"]) : Text(line["text"]);
  CHECK(*tokenizer.Encode(input, ParseSpecial::kAll) == Ids(line["ids"]));
  CHECK(*tokenizer.Encode(input, ParseSpecial::kUser) == Ids(FieldOr(line, "ids_control_as_text", "ids")));
  CHECK(*tokenizer.Encode(input, ParseSpecial::kNone) == Ids(FieldOr(line, "ids_no_added", "ids")));
  CHECK(*tokenizer.Decode(Ids(line["ids"])) == Text(line["decode"]));
}

// Leaving out the given tokens by hand, as a caller may.
std::string DecodeWithout(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, const std::set<int32_t>& out) {
  std::string bytes;
  for (int32_t id : ids) {
    if (out.count(id) == 0) bytes += std::string(tokenizer.TokenBytes(id));
  }
  return ReplaceIllFormed(bytes);
}

// True when Decode without special tokens leaves out just the marked ones.
bool CheckSkipping(const Tokenizer& tokenizer, const Json& line, const std::set<int32_t>& marked) {
  const std::vector<int32_t> ids = Ids(line["ids"]);
  const std::string expected = Text(FieldOr(line, "decode_skip_special", "decode"));
  CHECK(DecodeWithout(tokenizer, ids, marked) == expected);
  for (int32_t id : ids) {
    if (tokenizer.IsSpecial(id) != (marked.count(id) != 0)) return false;
  }
  CHECK(*tokenizer.Decode(ids, false) == expected);
  return true;
}

void CheckStream(const Tokenizer& tokenizer, const Json& line) {
  const std::vector<int32_t> ids = Ids(line["ids"]);
  REQUIRE(line["stream"].size() == ids.size() + 1);
  Utf8Stream stream;
  for (size_t i = 0; i < ids.size(); ++i) {
    CHECK(tokenizer.TokenBytes(ids[i]) == BytesOfHex(line["chunks_hex"][i]));
    CHECK(stream.Append(tokenizer.TokenBytes(ids[i])) == Text(line["stream"][i]));
  }
  CHECK(stream.Flush() == Text(line["stream"][ids.size()]));
}

TEST_CASE("all encoding cases are exact in all three modes and decode again") {
  for (const std::string model : kModels) {
    SKIP_WITHOUT_SHARED(Folder(model) + "cases.jsonl");
    const Tokenizer tokenizer = ReadTokenizer(Folder(model) + "vocab.gguf");
    const std::set<int32_t> marked = ReadMarkedSpecial(model);
    int cases = 0;
    int ill_formed = 0;
    int skipping = 0;
    for (const Json& line : ReadJsonLines(Folder(model) + "cases.jsonl")) {
      CheckEncoding(tokenizer, line);
      skipping += CheckSkipping(tokenizer, line, marked) ? 1 : 0;
      ill_formed += line.contains("input_hex") ? 1 : 0;
      ++cases;
    }
    CHECK(cases >= 481);
    CHECK(ill_formed >= 23);
    CHECK(skipping >= 460);
  }
}

TEST_CASE("all decoding and streaming cases are exact") {
  for (const std::string model : kModels) {
    SKIP_WITHOUT_SHARED(Folder(model) + "decode_cases.jsonl");
    const Tokenizer tokenizer = ReadTokenizer(Folder(model) + "vocab.gguf");
    const std::set<int32_t> marked = ReadMarkedSpecial(model);
    int cases = 0;
    int skipping = 0;
    for (const Json& line : ReadJsonLines(Folder(model) + "decode_cases.jsonl")) {
      const std::string id = Text(line["id"]);
      CAPTURE(id);
      CHECK(*tokenizer.Decode(Ids(line["ids"])) == Text(line["decode"]));
      CheckStream(tokenizer, line);
      skipping += CheckSkipping(tokenizer, line, marked) ? 1 : 0;
      ++cases;
    }
    CHECK(cases >= 77);
    CHECK(skipping >= 70);
  }
}

void CheckPairs(const Tokenizer& tokenizer, const std::string& name) {
  const std::string path = SharedPath("tokenizers/ggml-vocab/ggml-vocab-" + name + ".gguf");
  std::vector<std::string> texts = absl::StrSplit(ReadFileToString(path + ".inp"), "\n__ggml_vocab_test__\n");
  std::vector<std::string> lines = absl::StrSplit(ReadFileToString(path + ".out"), '\n');
  CAPTURE(name);
  REQUIRE(texts.size() >= 47);
  int cases = 0;
  int without_added = 0;
  for (size_t i = 0; i < 47; ++i) {
    CAPTURE(texts[i]);
    std::vector<int32_t> expected;
    for (absl::string_view word : absl::StrSplit(lines[i], ' ', absl::SkipEmpty())) {
      expected.push_back(std::stoi(std::string(word)));
    }
    // The pairs were made with user-defined tokens recognised: the deepseek
    // vocabularies have one for "\u00fc", which one of the texts holds.
    CHECK(*tokenizer.Encode(texts[i], ParseSpecial::kUser) == expected);
    without_added += *tokenizer.Encode(texts[i], ParseSpecial::kNone) == expected ? 1 : 0;
    cases += expected.empty() ? 0 : 1;
  }
  CHECK(cases >= 45);
  CHECK(without_added >= 46);
}

TEST_CASE("the pairs of the public vocabularies are exact") {
  for (const std::string name : {"gpt-2", "deepseek-llm", "deepseek-coder"}) {
    const std::string file = "tokenizers/ggml-vocab/ggml-vocab-" + name + ".gguf";
    SKIP_WITHOUT_SHARED(file);
    CheckPairs(ReadTokenizer(file), name);
  }
  CheckPairs(ReadTokenizer("tokenizers/qwen3/vocab.gguf"), "qwen2");
}

TEST_CASE("the demo model's held-out text has the published ids") {
  SKIP_WITHOUT_SHARED("demo/storyteller-q4_k_m.gguf");
  const Tokenizer tokenizer = ReadTokenizer("demo/storyteller-q4_k_m.gguf");
  const std::string text = ReadFileToString(SharedPath("demo/valid.txt"));
  const Json expected = Json::parse(ReadFileToString(SharedPath("demo/valid_ids.json")), nullptr, false);
  REQUIRE(expected.size() >= 20'000);
  CHECK(*tokenizer.Encode(text, ParseSpecial::kNone) == Ids(expected));
  CHECK(*tokenizer.Decode(Ids(expected)) == text);
}

TEST_CASE("a prompt of deepseek-v3 begins with BOS and one of qwen3 does not") {
  SKIP_WITHOUT_SHARED("tokenizers/deepseek-v3/vocab.gguf");
  const Tokenizer deepseek = ReadTokenizer("tokenizers/deepseek-v3/vocab.gguf");
  CHECK(deepseek.add_bos());
  CHECK(deepseek.bos_id() == 0);
  CHECK(deepseek.IsEndOfGeneration(1));
  CHECK(deepseek.vocab_size() == 129280);
  CHECK(deepseek.memory_bytes() < 6'000'000);
  const Tokenizer qwen = ReadTokenizer("tokenizers/qwen3/vocab.gguf");
  CHECK_FALSE(qwen.add_bos());
  CHECK(qwen.IsEndOfGeneration(151645));
}

}  // namespace
}  // namespace sluice
