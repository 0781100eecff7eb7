#include "src/text/pre_tokenizer.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "src/text/pre_tokenizer_table.h"

namespace sluice {
namespace {

using Pieces = std::vector<std::string>;

Pieces Split(absl::string_view name, absl::string_view text) {
  auto pre_tokenizer = PreTokenizer::Create(name);
  REQUIRE(pre_tokenizer.ok());
  Pieces pieces;
  REQUIRE(pre_tokenizer->Split(text, [&](absl::string_view piece) { pieces.emplace_back(piece); }).ok());
  return pieces;
}

TEST_CASE("every known pre-tokenizer compiles and drops nothing") {
  const std::string text = "It's 1234 \xE4\xBD\xA0\xE5\xA5\xBD  \r\n\t x\xCC\x81 !?\xC2\xA0  end  ";
  CHECK(PreTokenizerSpecs().size() >= 5);
  for (const PreTokenizerSpec& spec : PreTokenizerSpecs()) {
    std::string joined;
    for (const std::string& piece : Split(spec.name, text)) {
      CHECK_FALSE(piece.empty());
      joined += piece;
    }
    CHECK(joined == text);
  }
}

TEST_CASE("an unknown pre-tokenizer is refused with the known names") {
  const auto made = PreTokenizer::Create("gpt-5\n");
  CHECK(made.status().code() == absl::StatusCode::kFailedPrecondition);
  const std::string message(made.status().message());
  CHECK(message.find("tokenizer.ggml.pre") != std::string::npos);
  CHECK(message.find("deepseek-coder, deepseek-llm, deepseek-v3, gpt-2, qwen2") != std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
}

TEST_CASE("only qwen2 normalises") {
  for (const PreTokenizerSpec& spec : PreTokenizerSpecs()) {
    CHECK(PreTokenizer::Create(spec.name)->normalizes_to_nfc() == (spec.name == "qwen2"));
  }
}

TEST_CASE("numbers are cut as each model wants them") {
  CHECK(Split("deepseek-v3", "12345") == Pieces{"123", "45"});
  CHECK(Split("qwen2", "123") == Pieces{"1", "2", "3"});
  CHECK(Split("gpt-2", " 12345") == Pieces{" 12345"});
  CHECK(Split("deepseek-llm", "12") == Pieces{"1", "2"});
  CHECK(Split("deepseek-coder", "12") == Pieces{"1", "2"});
}

TEST_CASE("the last space before a word goes with the word") {
  for (const char* name : {"deepseek-v3", "gpt-2", "qwen2"}) CHECK(Split(name, "a   b") == Pieces{"a", "  ", " b"});
}

TEST_CASE("contractions are cut whatever their case, the long s included") {
  CHECK(Split("qwen2", "We'Ve") == Pieces{"We", "'Ve"});
  CHECK(Split("qwen2", "it'\xC5\xBF!") == Pieces{"it", "'\xC5\xBF", "!"});
  CHECK(Split("gpt-2", "we've") == Pieces{"we", "'ve"});
  CHECK(Split("gpt-2", "We'Ve") == Pieces{"We", "'", "Ve"});
}

TEST_CASE("white space is the Unicode property and nothing else") {
  // A white-space character runs together with a space before the last one; others do not.
  const char* const spaces[] = {"\t",           "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80",
                                "\xE2\x80\x8A", "\xE2\x80\xA8", "\xE2\x81\x9F", "\xE3\x80\x80"};
  for (const char* space : spaces)
    CHECK(Split("gpt-2", std::string(space) + "  ") == Pieces{std::string(space) + "  "});
  const char* const others[] = {"\xE1\xA0\x8E", "\xE2\x80\x8B", "\xEF\xBB\xBF", "\x1C", "\x1F"};
  for (const char* other : others) CHECK(Split("gpt-2", std::string(other) + "  ") == Pieces{other, "  "});
}

TEST_CASE("a hostile megabyte of one kind is split in time") {
  const size_t length = 1 << 20;
  std::string marks;
  while (marks.size() < length) marks += "\xCC\x81";
  const std::string texts[] = {std::string(length, ' '),        std::string(length, 'a'),
                               std::string(length, '\n'),       std::string(length, '!'),
                               std::string(length, '7'),        std::string(length, ' ') + "\xE0\xB8\x81",
                               std::string(length, '\t') + "x", marks};
  for (const PreTokenizerSpec& spec : PreTokenizerSpecs()) {
    const PreTokenizer pre_tokenizer = *PreTokenizer::Create(spec.name);
    for (const std::string& text : texts) {
      size_t bytes = 0;
      CHECK(pre_tokenizer.Split(text, [&](absl::string_view piece) { bytes += piece.size(); }).ok());
      CHECK(bytes == text.size());
    }
  }
}

TEST_CASE("many threads may split with one pre-tokenizer") {
  const PreTokenizer pre_tokenizer = *PreTokenizer::Create("deepseek-v3");
  std::vector<size_t> counts(4, 0);
  std::vector<std::thread> threads;
  for (size_t& count : counts) {
    threads.emplace_back([&pre_tokenizer, &count] {
      for (int i = 0; i < 200; ++i) {
        if (!pre_tokenizer.Split("Hello, world 1234!\n", [&](absl::string_view) { ++count; }).ok()) count += 1'000'000;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const size_t pieces = Split("deepseek-v3", "Hello, world 1234!\n").size();
  for (size_t count : counts) CHECK(count == 200 * pieces);
}

}  // namespace
}  // namespace sluice
