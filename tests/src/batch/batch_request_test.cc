#include "src/batch/batch_request.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

constexpr char kHello[] = R"("messages":[{"role":"user","content":"hello"}])";

std::string Line(const std::string& url, const std::string& body) {
  return absl::StrCat(R"({"custom_id":"a","method":"POST","url":")", url, R"(","body":{)", body, "}}");
}
// Lines whose body holds a sound prompt and `options`.
std::string Chat(const std::string& options) {
  return Line("/v1/chat/completions", absl::StrCat(kHello, options.empty() ? "" : ",", options));
}
std::string Text(const std::string& options) {
  return Line("/v1/completions", absl::StrCat(R"("prompt":"hello")", options.empty() ? "" : ",", options));
}
std::string Messages(const std::string& messages) {
  return Line("/v1/chat/completions", absl::StrCat(R"("messages":[)", messages, "]"));
}
std::string Prompt(const std::string& prompt) { return Line("/v1/completions", absl::StrCat(R"("prompt":)", prompt)); }

BatchRequest Parsed(const std::string& line) {
  const ParsedLine parsed = ParseBatchLine(line);
  CAPTURE(line);
  REQUIRE_MESSAGE(parsed.request.has_value(), parsed.error.message);
  CHECK(parsed.error.message.empty());
  return *parsed.request;
}

// The line is refused, its error holds `words` and names `param`.
void CheckRefused(const std::string& line, const std::string& param, const std::string& words) {
  const ParsedLine parsed = ParseBatchLine(line);
  CAPTURE(line.substr(0, 300));
  REQUIRE_FALSE(parsed.request.has_value());
  CHECK(parsed.error.param == param);
  CHECK_MESSAGE(absl::StrContains(parsed.error.message, words), parsed.error.message);
  CHECK(parsed.error.type == "invalid_request_error");
  CHECK_FALSE(parsed.error.code.empty());
  CHECK(parsed.error.message.size() < 400);
}

TEST_CASE("a plain chat line takes the API's defaults") {
  const ParsedLine parsed = ParseBatchLine(Chat(R"("model":"m")"));
  CHECK(parsed.custom_id == "a");
  REQUIRE(parsed.request.has_value());
  const BatchRequest& request = *parsed.request;
  CHECK(request.endpoint == Endpoint::kChatCompletions);
  CHECK(request.model == "m");
  REQUIRE(request.messages.size() == 1);
  CHECK(request.messages[0].role == "user");
  CHECK(request.messages[0].content == "hello");
  CHECK_FALSE(request.max_tokens.has_value());
  CHECK(request.temperature == 1);
  CHECK(request.top_p == 1);
  CHECK_FALSE(request.seed.has_value());
  CHECK(request.stop.empty());
  CHECK(request.top_logprobs == BatchRequest::kNoLogprobs);
  CHECK_FALSE(request.ignore_eos);
}

TEST_CASE("every option that is served is read") {
  const BatchRequest request =
      Parsed(Chat(R"("max_tokens":7,"temperature":0,"top_p":0.25,"seed":12,"stop":["x","yy"],"logprobs":true,)"
                  R"("top_logprobs":20,"ignore_eos":true)"));
  CHECK(request.max_tokens == 7);
  CHECK(request.temperature == 0);
  CHECK(request.top_p == 0.25);
  CHECK(request.seed == 12u);
  CHECK(request.stop == std::vector<std::string>{"x", "yy"});
  CHECK(request.top_logprobs == 20);
  CHECK(request.ignore_eos);
}

TEST_CASE("null is the same as absent") {
  const BatchRequest request =
      Parsed(Chat(R"("max_tokens":null,"temperature":null,"top_p":null,"seed":null,"stop":null,"logprobs":null,)"
                  R"("top_logprobs":null,"n":null,"stream":null,"tools":null,"response_format":null,"model":null)"));
  CHECK_FALSE(request.max_tokens.has_value());
  CHECK(request.temperature == 1);
  CHECK(request.top_logprobs == BatchRequest::kNoLogprobs);
}

TEST_CASE("max_completion_tokens wins over max_tokens") {
  CHECK(Parsed(Chat(R"("max_completion_tokens":3,"max_tokens":9)")).max_tokens == 3);
  CHECK(Parsed(Chat(R"("max_completion_tokens":null,"max_tokens":9)")).max_tokens == 9);
  for (const char* bad : {"0", "-1", "1.5", "\"ten\"", "true", "[1]", "9223372036854775808"}) {
    CheckRefused(Chat(absl::StrCat(R"("max_tokens":)", bad)), "max_tokens", "a whole number from 1 to");
  }
  CheckRefused(Chat(R"("max_completion_tokens":0)"), "max_completion_tokens", "not 0");
}

TEST_CASE("temperature and top_p have their limits") {
  CHECK(Parsed(Chat(R"("temperature":2)")).temperature == 2);
  for (const char* bad : {"-0.1", "2.1", "\"0\"", "true", "1e300"}) {
    CheckRefused(Chat(absl::StrCat(R"("temperature":)", bad)), "temperature", "a number from 0 to 2, not");
  }
  CHECK(Parsed(Chat(R"("top_p":1)")).top_p == 1);
  for (const char* bad : {"0", "-1", "1.01", "{}"})
    CheckRefused(Chat(absl::StrCat(R"("top_p":)", bad)), "top_p", "not ");
}

TEST_CASE("seeds are any 64 bits, negative ones by two's complement") {
  CHECK(Parsed(Chat(R"("seed":-1)")).seed == std::numeric_limits<uint64_t>::max());
  CHECK(Parsed(Chat(R"("seed":18446744073709551615)")).seed == std::numeric_limits<uint64_t>::max());
  CHECK(Parsed(Chat(R"("seed":0)")).seed == 0u);
  for (const char* bad : {"1.5", "\"1\"", "18446744073709551616"}) {
    CheckRefused(Chat(absl::StrCat(R"("seed":)", bad)), "seed", "a whole number");
  }
}

TEST_CASE("stop is a string or a list of strings that are not empty") {
  CHECK(Parsed(Chat(R"("stop":"\n")")).stop == std::vector<std::string>{"\n"});
  CHECK(Parsed(Chat(R"("stop":[])")).stop.empty());
  const std::string sixteen = R"("a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a")";
  CHECK(Parsed(Chat(absl::StrCat(R"("stop":[)", sixteen, "]"))).stop.size() == 16);
  CheckRefused(Chat(absl::StrCat(R"("stop":[)", sixteen, R"(,"a"])")), "stop",
               "a list of at most 16, not a list of 17");
  for (const char* bad : {R"("")", "5", R"([""])", "[null]", R"(["a",5])", "{}"}) {
    CheckRefused(Chat(absl::StrCat(R"("stop":)", bad)), "stop", "not");
  }
  CheckRefused(Chat(absl::StrCat(R"("stop":")", std::string(1025, 'x'), "\"")), "stop", "1 to 1024 bytes");
}

TEST_CASE("logprobs have a form of their own at each endpoint") {
  CHECK(Parsed(Chat(R"("logprobs":true)")).top_logprobs == 0);
  CHECK(Parsed(Chat(R"("logprobs":true,"top_logprobs":3)")).top_logprobs == 3);
  CHECK(Parsed(Chat(R"("logprobs":false)")).top_logprobs == BatchRequest::kNoLogprobs);
  CHECK(Parsed(Text(R"("logprobs":0)")).top_logprobs == 0);
  CHECK(Parsed(Text(R"("logprobs":20)")).top_logprobs == 20);
  CHECK(Parsed(Text(R"("logprobs":null)")).top_logprobs == BatchRequest::kNoLogprobs);
  CheckRefused(Chat(R"("logprobs":3)"), "logprobs", "true or false, not 3");
  CheckRefused(Chat(R"("logprobs":true,"top_logprobs":21)"), "top_logprobs", "0 to 20, not 21");
  CheckRefused(Chat(R"("top_logprobs":2)"), "top_logprobs", "needs logprobs");
  CheckRefused(Text(R"("logprobs":true)"), "logprobs", "0 to 20, not true");
  CheckRefused(Text(R"("logprobs":-1)"), "logprobs", "not -1");
}

TEST_CASE("roles are the API's, and a developer speaks as the system") {
  const BatchRequest request = Parsed(
      Messages(R"({"role":"developer","content":"d"},{"role":"system","content":"s"},{"role":"user","content":"u"},)"
               R"({"role":"assistant","content":null},{"role":"tool","tool_call_id":"x","content":"t"})"));
  REQUIRE(request.messages.size() == 5);
  CHECK(request.messages[0].role == "system");
  CHECK(request.messages[3].role == "assistant");
  CHECK_FALSE(request.messages[3].content.has_value());
  CHECK(request.messages[4].role == "tool");
  CheckRefused(Messages(R"({"role":"user","content":"u"},{"role":"robot","content":"x"})"), "messages[1].role",
               "not \"robot\"");
  CheckRefused(Messages(R"({"content":"x"})"), "messages[0].role", "missing");
  CheckRefused(Messages(R"({"role":5})"), "messages[0].role", "must be a string, not 5");
}

TEST_CASE("text parts are joined by line ends and other parts are refused by type") {
  const BatchRequest request =
      Parsed(Messages(R"({"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]})"));
  CHECK(request.messages[0].content == "a\nb");
  CHECK(Parsed(Messages(R"({"role":"user","content":[]})")).messages[0].content == "");
  const std::pair<const char*, const char*> bad[] = {
      {R"([{"type":"image_url","image_url":{}}])", "image_url"},
      {R"([{"text":"x"}])", "type is missing"},
      {R"([{"type":"text"}])", "text is missing"},
      {R"([{"type":"text","text":5}])", "must be a string, not 5"},
      {R"([{"type":"text","text":"a"},"b"])", "content[1] must be an object"},
      {"7", "a string, a list of text parts or null, not 7"},
  };
  for (const auto& [content, words] : bad) {
    const std::string line = Messages(absl::StrCat(R"({"role":"user","content":)", content, "}"));
    const ParsedLine parsed = ParseBatchLine(line);
    CHECK_FALSE(parsed.request.has_value());
    CHECK_MESSAGE(absl::StrContains(parsed.error.message, words), parsed.error.message);
    CHECK(absl::StartsWith(parsed.error.param, "messages[0].content"));
  }
}

TEST_CASE("calls of tools by the assistant are kept") {
  const BatchRequest request =
      Parsed(Messages(R"({"role":"assistant","tool_calls":[{"id":"1","type":"function","function":)"
                      R"({"name":"f","arguments":"{\"a\":1}"}}]})"));
  REQUIRE(request.messages[0].tool_calls.size() == 1);
  CHECK(request.messages[0].tool_calls[0].type == "function");
  CHECK(request.messages[0].tool_calls[0].name == "f");
  CHECK(request.messages[0].tool_calls[0].arguments == "{\"a\":1}");
  const std::pair<const char*, const char*> bad[] = {
      {"5", "messages[0].tool_calls"},
      {"[5]", "messages[0].tool_calls[0]"},
      {R"([{"type":"custom"}])", "messages[0].tool_calls[0].type"},
      {R"([{"type":"function"}])", "messages[0].tool_calls[0].function"},
      {R"([{"type":"function","function":{"arguments":""}}])", "messages[0].tool_calls[0].function.name"},
      {R"([{"type":"function","function":{"name":"f"}}])", "messages[0].tool_calls[0].function.arguments"},
      {R"([{"type":"function","function":{"name":"f","arguments":{}}}])",
       "messages[0].tool_calls[0].function.arguments"},
  };
  for (const auto& [calls, param] : bad) {
    CheckRefused(Messages(absl::StrCat(R"({"role":"assistant","tool_calls":)", calls, "}")), param, "must be");
  }
  CheckRefused(Messages(R"({"role":"user","tool_calls":[{}]})"), "messages[0].tool_calls", "assistant alone");
  CheckRefused(Messages(R"({"role":"assistant","function_call":{}})"), "messages[0].function_call", "use tool_calls");
}

TEST_CASE("a chat without messages is refused") {
  CheckRefused(Line("/v1/chat/completions", ""), "messages", "messages is missing");
  CheckRefused(Messages(""), "messages", "not an empty list");
  CheckRefused(Messages("5"), "messages[0]", "must be an object, not 5");
  CheckRefused(Line("/v1/chat/completions", R"("messages":"hi")"), "messages", "not \"hi\"");
}

TEST_CASE("a prompt is text or token ids, alone or as a list of one") {
  CHECK(Parsed(Prompt(R"("hello")")).prompt == "hello");
  CHECK(Parsed(Prompt(R"(["hello"])")).prompt == "hello");
  for (const char* ids : {"[1,2,2147483647]", "[[1,2,2147483647]]"}) {
    const BatchRequest request = Parsed(Prompt(ids));
    CHECK_FALSE(request.prompt.has_value());
    CHECK(request.prompt_tokens == std::vector<int32_t>{1, 2, 2147483647});
  }
  CheckRefused(Prompt(R"(["a","b"])"), "prompt", "holds 2 prompts");
  CheckRefused(Prompt("[[1],[2]]"), "prompt", "holds 2 prompts");
  CheckRefused(Prompt("[1,-2]"), "prompt[1]", "must be a token id, not -2");
  CheckRefused(Prompt("[2147483648]"), "prompt[0]", "must be a token id");
  CheckRefused(Prompt("[1,\"a\"]"), "prompt[1]", "must be a token id, not \"a\"");
  CheckRefused(Prompt("[]"), "prompt", "not an empty list");
  CheckRefused(Prompt("[[]]"), "prompt", "must be a string or a list of token ids");
  CheckRefused(Line("/v1/completions", ""), "prompt", "missing");
}

TEST_CASE("options that would change the answer are refused unless they ask for nothing") {
  const std::pair<const char*, std::pair<const char*, const char*>> options[] = {
      {"n", {"1", "2"}},
      {"stream", {"false", "true"}},
      {"response_format", {R"({"type":"text"})", R"({"type":"json_object"})"}},
      {"tools", {"[]", "[{}]"}},
      {"functions", {"[]", "[{}]"}},
      {"logit_bias", {"{}", R"({"5":1})"}},
      {"presence_penalty", {"0.0", "0.5"}},
      {"frequency_penalty", {"0", "-1"}},
      {"best_of", {"1", "3"}},
      {"echo", {"false", "true"}},
      {"suffix", {"\"\"", "\"x\""}},
      {"modalities", {"[\"text\"]", "[\"text\",\"audio\"]"}},
      {"reasoning_effort", {"null", "\"low\""}},
      {"top_k", {"-1", "40"}},
      {"min_p", {"0", "0.1"}},
  };
  for (const auto& [name, values] : options) {
    Parsed(Chat(absl::StrCat("\"", name, "\":", values.first)));
    Parsed(Text(absl::StrCat("\"", name, "\":", values.first)));
    CheckRefused(Chat(absl::StrCat("\"", name, "\":", values.second)), name, "is not supported");
    CheckRefused(Text(absl::StrCat("\"", name, "\":", values.second)), name, "is not supported");
    CheckRefused(Chat(absl::StrCat("\"", name, "\":\"odd\"")), name, "\"odd\" is not supported");
  }
}

TEST_CASE("options without influence on the answer are ignored") {
  Parsed(Chat(
      R"("user":"u","metadata":{"a":"b"},"store":true,"service_tier":"flex","stream_options":{}, "safety_identifier":"x")"));
}

TEST_CASE("the line around the body is checked") {
  const std::string body = absl::StrCat(R"("body":{)", kHello, "}");
  Parsed(absl::StrCat(R"({"custom_id":"a","url":"/v1/chat/completions",)", body, "}"));
  CheckRefused(absl::StrCat(R"({"custom_id":"a","method":"GET","url":"/v1/chat/completions",)", body, "}"), "method",
               "not \"GET\"");
  CheckRefused(absl::StrCat(R"({"custom_id":"a","url":"/v1/embeddings",)", body, "}"), "url", "/v1/embeddings");
  CheckRefused(absl::StrCat(R"({"custom_id":"a",)", body, "}"), "url", "missing");
  CheckRefused(R"({"custom_id":"a","url":"/v1/completions"})", "body", "missing");
  CheckRefused(R"({"custom_id":"a","url":"/v1/completions","body":[]})", "body", "an object");
}

TEST_CASE("an error keeps the custom_id where it can be read") {
  CHECK(ParseBatchLine(Chat(R"("n":2)")).custom_id == "a");
  CHECK(ParseBatchLine(R"({"custom_id":"b"})").custom_id == "b");
  const std::string long_id = absl::StrCat(R"({"custom_id":")", std::string((64 << 10) + 1, 'x'), R"("})");
  for (const std::string& line : {std::string(R"({"custom_id":5})"), std::string(R"({"custom_id":""})"),
                                  std::string(R"({"custom_id":null})"), std::string("{}"), long_id}) {
    CheckRefused(line, "custom_id", "string");
    CHECK_FALSE(ParseBatchLine(line).custom_id.has_value());
  }
  CHECK(ParseBatchLine("{\"custom_id\":\"a\"").custom_id == absl::nullopt);
}

TEST_CASE("what is not a JSON object is refused with the place") {
  CheckRefused("hello", "", "byte 1");
  CheckRefused(R"({"custom_id":"a",})", "", "byte 18");
  CheckRefused("[]", "", "must be a JSON object, not an empty list");
  CheckRefused("{\"custom_id\":\"\xFF\"}", "", "goes wrong at byte");
  CheckRefused("{} {}", "", "goes wrong at byte");
  CheckRefused(Chat(R"("temperature":1e999)"), "", "goes wrong at byte");
}

TEST_CASE("a field that comes twice is refused") {
  CheckRefused(R"({"custom_id":"a","custom_id":"b"})", "", "\"custom_id\" twice");
  CheckRefused(Chat(R"("seed":1,"seed":2)"), "", "\"seed\" twice");
  Parsed(Messages(R"({"role":"user","content":"a"},{"role":"user","content":"b"})"));
}

TEST_CASE("nesting and floods of values are refused within bounds") {
  CheckRefused(std::string(1 << 20, '['), "", "deeper than 64");
  std::string objects;
  for (int i = 0; i < 65; ++i) objects += R"({"a":)";
  CheckRefused(objects, "", "deeper than 64");
  std::string zeros = "0";
  for (int i = 0; i < (1 << 20); ++i) zeros += ",0";
  CheckRefused(Prompt(absl::StrCat("[", zeros, "]")), "", "more than 1048576 values");
  CHECK(Parsed(Chat(absl::StrCat(R"("metadata":)", std::string(60, '['), std::string(60, ']')))).temperature == 1);
}

TEST_CASE("a line that is too long to be held says so") {
  CheckRefused("", "", "the line is longer than 16 MiB");
  CheckRefused(std::string((16 << 20) + 1, ' '), "", "the line is longer than 16 MiB");
}

TEST_CASE("what is shown of a long value ends at a character") {
  std::string value;
  for (int i = 0; i < 40; ++i) value += "a\xE2\x82\xAC";
  const ParsedLine parsed = ParseBatchLine(Chat(absl::StrCat(R"("seed":")", value, "\"")));
  CHECK(absl::StrContains(parsed.error.message, "a\xE2\x82\xAC...\""));
}

}  // namespace
}  // namespace sluice
