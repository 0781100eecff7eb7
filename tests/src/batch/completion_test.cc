#include "src/batch/completion.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "src/text/utf8.h"
#include "tests/src/text/small_vocabulary.h"
#include "tests/src/text/text_test_data.h"

namespace sluice {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

const Tokenizer& Small() {
  static const auto* const tokenizer = new Tokenizer(*Tokenizer::Create(SmallVocabulary("gpt-2")));
  return *tokenizer;
}

BatchRequest Stopping(std::vector<std::string> stop) {
  BatchRequest request;
  request.stop = std::move(stop);
  return request;
}

Completion Started(BatchRequest request, int64_t max_tokens = 1000) {
  return Completion(std::move(request), /*prompt_tokens=*/5, max_tokens, /*seed=*/1, &Small());
}

// Takes in ids until they end or the answer does.
Completion After(BatchRequest request, const std::vector<int32_t>& ids, int64_t max_tokens = 1000) {
  Completion completion = Started(std::move(request), max_tokens);
  for (int32_t id : ids) {
    if (!completion.finished()) completion.Append({id, 0, {}});
  }
  return completion;
}

// The small vocabulary's bytes are its first ids.
std::vector<int32_t> Bytes(absl::string_view text) {
  std::vector<int32_t> ids;
  for (char byte : text) ids.push_back(static_cast<uint8_t>(byte));
  return ids;
}

TEST_CASE("an answer grows by its tokens' text and ends at its length") {
  const Completion completion = After({}, {kSmallThe, kSmallSpaceThe, 'x', 'y'}, 3);
  CHECK(completion.text() == "the thex");
  CHECK(completion.finish_reason() == "length");
  CHECK(completion.tokens().size() == 3);
  CHECK_FALSE(After({}, {'x'}, 2).finished());
}

TEST_CASE("an end token finishes, counts and has no text") {
  for (int32_t end : {kSmallEos, kSmallTurn}) {
    const Completion completion = After({}, {'x', end});
    CHECK(completion.text() == "x");
    CHECK(completion.finish_reason() == "stop");
    CHECK(completion.tokens().size() == 2);
    CHECK_FALSE(completion.is_cut());
  }
  CHECK(After({}, {'x', kSmallEos}, 2).finish_reason() == "stop");
}

TEST_CASE("ignore_eos goes on behind an end token") {
  BatchRequest request;
  request.ignore_eos = true;
  const Completion completion = After(request, {'x', kSmallEos, 'y'}, 3);
  CHECK(completion.text() == "xy");
  CHECK(completion.finish_reason() == "length");
}

TEST_CASE("special tokens and ids without a token have no text, user-defined ones have") {
  const Completion completion = After({}, {'x', kSmallBos, kSmallSize, kSmallSize + 100, kSmallThink, 'y'});
  CHECK(completion.text() == "x<think>y");
  CHECK(completion.tokens().size() == 6);
}

TEST_CASE("characters come whole") {
  Completion completion = Started({}, 4);
  for (int32_t byte : {0xE2, 0x82}) completion.Append({byte, 0, {}});
  CHECK(completion.text().empty());
  completion.Append({0xAC, 0, {}});
  CHECK(completion.text() == "\xE2\x82\xAC");
  completion.Append({0xE2, 0, {}});
  CHECK(completion.text() == "\xE2\x82\xAC\xEF\xBF\xBD");
  CHECK(completion.finish_reason() == "length");
  CHECK(After({}, {0xE2, kSmallEos}).text() == "\xEF\xBF\xBD");
}

TEST_CASE("a stop string ends the answer before it, also inside a token and across tokens") {
  CHECK(After(Stopping({"h"}), {'x', kSmallThe}).text() == "xt");
  const Completion across = After(Stopping({"x the"}), {'a', 'x', kSmallSpaceThe, 'b'});
  CHECK(across.text() == "a");
  CHECK(across.finish_reason() == "stop");
  CHECK(across.is_cut());
  CHECK(across.tokens().size() == 3);
  CHECK(After(Stopping({"ab"}), Bytes("aaab")).text() == "aa");
  CHECK(After(Stopping({"\xE2\x82\xAC"}), Bytes("x\xE2\x82\xAC")).text() == "x");
  CHECK(After(Stopping({"<think>"}), {'x', kSmallThink}).text() == "x");
  CHECK(After(Stopping({"x"}), {'x'}).text() == "");
}

TEST_CASE("the stop string that begins first cuts") {
  CHECK(After(Stopping({"he", "the"}), {'x', kSmallThe}).text() == "x");
  CHECK(After(Stopping({"the", "he"}), {'x', kSmallThe}).text() == "x");
}

TEST_CASE("what may become a stop string is held back until it does not") {
  Completion completion = Started(Stopping({"abc", "bd"}));
  const std::pair<char, const char*> steps[] = {{'x', "x"}, {'a', "x"}, {'b', "x"}, {'a', "xab"}, {'b', "xab"}};
  for (const auto& [byte, text] : steps) {
    completion.Append({byte, 0, {}});
    CHECK(completion.text() == text);
  }
  completion.Append({'d', 0, {}});
  CHECK(completion.text() == "xaba");
  CHECK(completion.is_cut());
}

TEST_CASE("the beginning of a stop string is text when the answer ends otherwise") {
  const Completion full = After(Stopping({"abc"}), Bytes("xab"), 3);
  CHECK(full.text() == "xab");
  CHECK(full.finish_reason() == "length");
  const Completion ended = After(Stopping({"abc"}), {'x', 'a', 'b', kSmallEos});
  CHECK(ended.text() == "xab");
  CHECK_FALSE(ended.is_cut());
}

TEST_CASE("a stop string that is completed by the last token stops") {
  CHECK(After(Stopping({"ab"}), Bytes("xab"), 3).finish_reason() == "stop");
  const Completion replaced = After(Stopping({"\xEF\xBF\xBD"}), {'x', 0xE2}, 2);
  CHECK(replaced.text() == "x");
  CHECK(replaced.finish_reason() == "stop");
}

TEST_CASE("stop strings cut alike however the text is cut into tokens") {
  const std::string text = "the aaaab the \xC3\xA9 abaab the";
  for (const char* stop : {"aab", "the a", "\xC3\xA9", "e \xC3\xA9 ab", "abaab t", "none"}) {
    const std::string expected = text.substr(0, text.find(stop));
    CHECK(After(Stopping({stop}), Bytes(text)).text() + "|" ==
          (text.find(stop) == std::string::npos ? text : expected) + "|");
    CHECK(After(Stopping({stop}), *Small().Encode(text, ParseSpecial::kNone)).text() == expected);
  }
}

TEST_CASE("a long answer with long stop strings takes time in proportion") {
  BatchRequest request;
  for (int i = 0; i < 16; ++i) request.stop.push_back(std::string(1000, 'a') + static_cast<char>('b' + i));
  const Completion completion = After(request, std::vector<int32_t>(4000, kSmallAaaa), 4000);
  CHECK(completion.text() == std::string(16000, 'a'));
}

TEST_CASE("the choice is the sampler's at the position behind prompt and answer") {
  std::vector<float> logits(kSmallSize);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 37 % 101) / 40;
  SamplerOptions options;
  options.temperature = 0.8;
  options.top_p = 0.9;
  options.seed = 1;
  Sampler sampler = *Sampler::Create(options);
  BatchRequest request;
  request.temperature = 0.8;
  request.top_p = 0.9;
  Completion completion = Started(request);
  int distinct = 0;
  for (uint64_t position = 5; position < 25; ++position) {
    const ChosenToken chosen = completion.Choose(logits);
    CHECK(chosen.token == sampler.Sample(logits, position));
    CHECK(completion.Choose(logits).token == chosen.token);
    CHECK(chosen.top.empty());
    CHECK(chosen.logprob == 0);
    distinct += completion.tokens().empty() || completion.tokens().back().token != chosen.token;
    completion.Append(chosen);
  }
  CHECK(distinct > 5);
}

TEST_CASE("temperature 0 takes the highest logit, the lowest id of equals") {
  BatchRequest request;
  request.temperature = 0;
  CHECK(Started(request).Choose(std::vector<float>{1, kNan, 3, 3, 2}).token == 2);
}

TEST_CASE("tokens taken in again continue the same") {
  std::vector<float> logits(kSmallSize, 0);
  Completion whole = Started(Stopping({"zz"}), 40);
  std::vector<ChosenToken> journal;
  while (!whole.finished()) {
    journal.push_back(whole.Choose(logits));
    whole.Append(journal.back());
  }
  for (size_t cut = 0; cut < journal.size(); ++cut) {
    Completion resumed = Started(Stopping({"zz"}), 40);
    for (size_t i = 0; i < cut; ++i) resumed.Append(journal[i]);
    while (!resumed.finished()) resumed.Append(resumed.Choose(logits));
    CHECK(resumed.text() == whole.text());
    CHECK(resumed.finish_reason() == whole.finish_reason());
    CHECK(resumed.tokens().size() == whole.tokens().size());
  }
}

ChosenToken WithLogprobs(int top, const std::vector<float>& logits) {
  BatchRequest request;
  request.temperature = 0;
  request.top_logprobs = top;
  return Started(request).Choose(logits);
}

TEST_CASE("logprobs are those of the model's own distribution, best first") {
  const std::vector<float> logits = {0, 2, 1, 2, -1};
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit));
  const ChosenToken chosen = WithLogprobs(4, logits);
  CHECK(chosen.token == 1);
  CHECK(chosen.logprob == static_cast<float>(2 - std::log(sum)));
  REQUIRE(chosen.top.size() == 4);
  const int32_t expected[] = {1, 3, 2, 0};
  for (size_t i = 0; i < 4; ++i) {
    CHECK(chosen.top[i].token == expected[i]);
    CHECK(chosen.top[i].logprob == doctest::Approx(static_cast<double>(logits[expected[i]]) - std::log(sum)));
  }
  CHECK(WithLogprobs(0, logits).top.empty());
  CHECK(WithLogprobs(0, logits).logprob == chosen.logprob);
  CHECK(WithLogprobs(20, logits).top.size() == 5);
}

TEST_CASE("large logits neither overflow nor lose their differences") {
  const ChosenToken chosen = WithLogprobs(2, {30000, 29999, -30000});
  CHECK(chosen.logprob == doctest::Approx(-std::log1p(std::exp(-1.0))));
  CHECK(chosen.top[1].logprob == doctest::Approx(-1 - std::log1p(std::exp(-1.0))));
}

TEST_CASE("logits that are no numbers are never told, and infinite ones stand") {
  const ChosenToken chosen = WithLogprobs(5, {kNan, 1, kNan, 2, -kInfinity});
  CHECK(chosen.token == 3);
  REQUIRE(chosen.top.size() == 3);
  CHECK(chosen.top[0].token == 3);
  CHECK(chosen.top[2].token == 4);
  CHECK(chosen.top[2].logprob == -kInfinity);
  CHECK(chosen.logprob == doctest::Approx(-std::log1p(std::exp(-1.0))));
  CHECK(WithLogprobs(1, {kInfinity, kInfinity, 0}).logprob == doctest::Approx(-std::log(2.0)));
  CHECK_FALSE(std::isnan(WithLogprobs(3, {kNan, kNan}).logprob));
  CHECK(WithLogprobs(3, {kNan, kNan}).top.empty());
}

TEST_CASE("the memory that is promised holds the tokens, their alternatives and the prompt") {
  BatchRequest request;
  const uint64_t plain = Completion::MemoryBytes(request, 1000);
  CHECK(plain >= 1000 * (sizeof(ChosenToken) + 10));
  request.top_logprobs = 20;
  CHECK(Completion::MemoryBytes(request, 1000) >= plain + 1000 * 20 * sizeof(TokenLogprob));
  request.prompt = std::string(100000, 'x');
  request.messages.push_back({"user", std::string(50000, 'x'), {}});
  CHECK(Completion::MemoryBytes(request, 1000) >= plain + 150000 + 1000 * 20 * sizeof(TokenLogprob));
  CHECK(Completion::MemoryBytes(request, std::numeric_limits<int64_t>::max()) == std::numeric_limits<uint64_t>::max());
}

TEST_CASE("a real vocabulary stops where its text says") {
  SKIP_WITHOUT_SHARED("demo/storyteller-q4_k_m.gguf");
  const Tokenizer tokenizer = ReadTokenizer("demo/storyteller-q4_k_m.gguf");
  const std::string story = "Once upon a time there was a little dog.\nThe end.\nOnce more";
  Completion completion(Stopping({".\nOnce"}), 1, 1000, 1, &tokenizer);
  const std::vector<int32_t> ids = *tokenizer.Encode(story, ParseSpecial::kNone);
  for (int32_t id : ids) {
    if (!completion.finished()) completion.Append({id, 0, {}});
    CHECK(story.compare(0, completion.text().size(), completion.text()) == 0);
  }
  CHECK(completion.text() == "Once upon a time there was a little dog.\nThe end");
  CHECK(completion.is_cut());
}

}  // namespace
}  // namespace sluice
