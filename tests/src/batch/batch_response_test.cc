#include "src/batch/batch_response.h"

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/src/text/small_vocabulary.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

const Tokenizer& Small() {
  static const auto* const tokenizer = new Tokenizer(*Tokenizer::Create(SmallVocabulary("gpt-2")));
  return *tokenizer;
}

ResponseContext Context(uint64_t line = 12) {
  ResponseContext context;
  context.line = line;
  context.custom_id = "my \"id\"";
  context.model = "file-name";
  context.created_unix = 1700000000;
  return context;
}

BatchRequest Request(Endpoint endpoint, int top_logprobs = BatchRequest::kNoLogprobs) {
  BatchRequest request;
  request.endpoint = endpoint;
  request.top_logprobs = top_logprobs;
  return request;
}

Completion Answered(BatchRequest request, std::vector<ChosenToken> tokens, int64_t max_tokens = 100) {
  Completion completion(std::move(request), 7, max_tokens, 1, &Small());
  for (ChosenToken& token : tokens) completion.Append(std::move(token));
  REQUIRE(completion.finished());
  return completion;
}

// One whole line of JSON without what the newline would break.
Json Object(const std::string& line) {
  REQUIRE(!line.empty());
  CHECK(line.find('\n') == line.size() - 1);
  Json json = Json::parse(line, nullptr, false);
  REQUIRE(json.is_object());
  return json;
}

Json Answer(const Completion& completion) { return Object(ResponseLine(Context(), completion, Small())); }
Json LogprobsOf(const Completion& completion) {
  return Answer(completion)["response"]["body"]["choices"][0]["logprobs"];
}

TEST_CASE("a chat answer has the API's form") {
  BatchRequest request = Request(Endpoint::kChatCompletions);
  request.model = "m";
  const Json expected = Json::parse(R"({"id":"batch_req_000000012","custom_id":"my \"id\"","response":{
    "status_code":200,"request_id":"req_000000012","body":{"id":"chatcmpl-000000012","object":"chat.completion",
    "created":1700000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"the\nx"},
    "logprobs":null,"finish_reason":"stop"}],
    "usage":{"prompt_tokens":7,"completion_tokens":4,"total_tokens":11}}},"error":null})");
  CHECK(Answer(Answered(request, {{kSmallThe, 0, {}}, {'\n', 0, {}}, {'x', 0, {}}, {kSmallEos, 0, {}}})) == expected);
}

TEST_CASE("a text answer has the API's form and the model's file name where the request names none") {
  const Json expected = Json::parse(R"({"id":"batch_req_000000012","custom_id":"my \"id\"","response":{
    "status_code":200,"request_id":"req_000000012","body":{"id":"cmpl-000000012","object":"text_completion",
    "created":1700000000,"model":"file-name","choices":[{"index":0,"text":"x","logprobs":null,
    "finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8}}},"error":null})");
  CHECK(Answer(Answered(Request(Endpoint::kCompletions), {{'x', 0, {}}}, 1)) == expected);
}

TEST_CASE("an error line tells the error in both places") {
  ResponseContext context = Context();
  context.custom_id = absl::nullopt;
  ApiError error;
  error.message = "seed must be \xFF";
  error.param = "seed";
  error.code = "invalid_value";
  const Json expected = Json::parse(R"({"id":"batch_req_000000012","custom_id":null,"response":{"status_code":400,
    "request_id":"req_000000012","body":{"error":{"message":"seed must be \ufffd","type":"invalid_request_error",
    "param":"seed","code":"invalid_value"}}},"error":{"code":"invalid_value","message":"seed must be \ufffd"}})");
  CHECK(Object(ErrorLine(context, error)) == expected);
  const Json bare = Object(ErrorLine(context, ApiError{"no", "invalid_request_error", "", ""}));
  CHECK(bare["response"]["body"]["error"]["param"].is_null());
  CHECK(bare["response"]["body"]["error"]["code"].is_null());
  CHECK(bare["error"]["code"] == "invalid_request");
}

TEST_CASE("chat logprobs tell tokens, their bytes and their rivals") {
  const Completion completion =
      Answered(Request(Endpoint::kChatCompletions, 2), {{0xE2, -0.5f, {{0xE2, -0.5f}, {'y', -2}}},
                                                        {kSmallThe, -1, {{'z', -0.25f}, {kSmallSize, -3}}},
                                                        {kSmallEos, -4, {}}});
  const Json expected = Json::parse(R"({"content":[
    {"token":"\ufffd","logprob":-0.5,"bytes":[226],"top_logprobs":[
      {"token":"\ufffd","logprob":-0.5,"bytes":[226]},{"token":"y","logprob":-2.0,"bytes":[121]}]},
    {"token":"the","logprob":-1.0,"bytes":[116,104,101],"top_logprobs":[
      {"token":"z","logprob":-0.25,"bytes":[122]},{"token":"","logprob":-3.0,"bytes":[]}]}]})");
  CHECK(LogprobsOf(completion) == expected);
}

TEST_CASE("text logprobs tell offsets in characters and the chosen token always") {
  const Completion completion = Answered(
      Request(Endpoint::kCompletions, 1),
      {{kSmallEAcute, -0.5f, {{kSmallEAcute, -0.5f}}}, {'x', -1, {{'y', -0.25f}}}, {kSmallThe, -2, {{kSmallThe, -2}}}},
      3);
  const Json expected = Json::parse(R"({"tokens":["\u00e9","x","the"],"token_logprobs":[-0.5,-1.0,-2.0],
    "top_logprobs":[{"\u00e9":-0.5},{"y":-0.25,"x":-1.0},{"the":-2.0}],"text_offset":[0,1,2]})");
  CHECK(LogprobsOf(completion) == expected);
  CHECK(LogprobsOf(Answered(Request(Endpoint::kCompletions, 0), {{'x', -1, {}}}, 1)) ==
        Json::parse(R"({"tokens":["x"],"token_logprobs":[-1.0],"top_logprobs":null,"text_offset":[0]})"));
}

TEST_CASE("of tokens whose text is the same the likeliest is told") {
  const Completion completion = Answered(Request(Endpoint::kCompletions, 2), {{0xE3, -2, {{0xE2, -1}, {0xE3, -2}}}}, 1);
  CHECK(LogprobsOf(completion)["top_logprobs"] == Json::parse(R"([{"\ufffd":-1.0}])"));
}

TEST_CASE("logprobs end with the token that a stop string cuts") {
  const auto told = [](std::vector<std::string> stop, std::vector<ChosenToken> tokens) {
    BatchRequest request = Request(Endpoint::kCompletions, 0);
    request.stop = std::move(stop);
    return LogprobsOf(Answered(std::move(request), std::move(tokens)))["tokens"];
  };
  CHECK(told({"he"}, {{'x', 0, {}}, {kSmallThe, 0, {}}}) == Json({"x", "the"}));
  CHECK(told({"e y"}, {{'x', 0, {}}, {kSmallThe, 0, {}}, {' ', 0, {}}, {'y', 0, {}}}) == Json({"x", "the"}));
  CHECK(told({"the"}, {{'x', 0, {}}, {kSmallThe, 0, {}}}) == Json::array({"x"}));
  CHECK(told({"x"}, {{'x', 0, {}}}) == Json::array());
}

TEST_CASE("an end token that was to be ignored is told") {
  BatchRequest request = Request(Endpoint::kCompletions, 0);
  request.ignore_eos = true;
  CHECK(LogprobsOf(Answered(request, {{'x', 0, {}}, {kSmallEos, 0, {}}}, 2))["tokens"] == Json({"x", "<eos>"}));
}

TEST_CASE("a probability of zero is a number that JSON has") {
  const Completion completion = Answered(Request(Endpoint::kChatCompletions, 1),
                                         {{'x', -1, {{'y', -std::numeric_limits<float>::infinity()}}}}, 1);
  CHECK(LogprobsOf(completion)["content"][0]["top_logprobs"][0]["logprob"] == -9999);
}

TEST_CASE("a response line reads back") {
  const std::string line = ResponseLine(
      Context(1234567890123), Answered(Request(Endpoint::kChatCompletions, 1), {{'x', -1, {{'y', -2}}}}, 1), Small());
  for (absl::string_view text : {absl::string_view(line), absl::string_view(line).substr(0, line.size() - 1)}) {
    const auto done = ParseOutputLine(text);
    REQUIRE(done.has_value());
    CHECK(done->line == 1234567890123);
    CHECK(done->custom_id == "my \"id\"");
    CHECK_FALSE(done->is_error);
    CHECK(done->completion_tokens == 1);
  }
}

TEST_CASE("an error line reads back, also without a custom_id") {
  ResponseContext context = Context(3);
  const ApiError error = {"no", "invalid_request_error", "", ""};
  CHECK(ParseOutputLine(ErrorLine(context, error))->custom_id == "my \"id\"");
  context.custom_id = absl::nullopt;
  const auto done = ParseOutputLine(ErrorLine(context, error));
  REQUIRE(done.has_value());
  CHECK(done->line == 3);
  CHECK(done->is_error);
  CHECK(done->completion_tokens == 0);
  CHECK_FALSE(done->custom_id.has_value());
}

TEST_CASE("every torn beginning of a line is nothing") {
  const std::string line =
      ResponseLine(Context(), Answered(Request(Endpoint::kCompletions), {{'x', 0, {}}}, 1), Small());
  for (size_t bytes = 0; bytes + 1 < line.size(); ++bytes) {
    CHECK_FALSE(ParseOutputLine(absl::string_view(line).substr(0, bytes)).has_value());
  }
}

TEST_CASE("lines that were not written here are nothing") {
  const std::string line =
      ResponseLine(Context(), Answered(Request(Endpoint::kCompletions), {{'x', 0, {}}}, 1), Small());
  const std::string error = ErrorLine(Context(), ApiError{"no", "invalid_request_error", "", ""});
  const std::pair<const char*, const char*> edits[] = {
      {"batch_req_000000012", "batch_req_000000013"},
      {"batch_req_000000012", "batch_req_12"},
      {"batch_req_000000012", "batch_req_0000000012"},
      {"batch_req_000000012", "batch_req_-00000012"},
      {"batch_req_000000012", "batch_req_abc"},
      {"\"req_000000012", "\"req_000000011"},
      {"\"status_code\"", "\"status\""},
      {"\"custom_id\"", "\"id_custom\""},
      {"\"error\":null", "\"err\":null"},
      {"{\"id\":\"batch", " {\"id\":\"batch"},
      {"\"error\":", "\"id\":\"batch_req_000000012\",\"error\":"},
      {"\"usage\":{", "\"used\":{"},
      {":200", ":400"},
      {":400", ":200"},
      {"}\n", "}}\n"},
      {"}\n", "}{}\n"},
  };
  for (const auto& [from, to] : edits) {
    int changed = 0;
    for (const std::string& original : {line, error}) {
      const std::string edited = absl::StrReplaceAll(original, {{from, to}});
      if (edited == original) continue;
      ++changed;
      CAPTURE(edited);
      CHECK_FALSE(ParseOutputLine(edited).has_value());
    }
    CHECK(changed > 0);
  }
  CHECK_FALSE(ParseOutputLine("").has_value());
  CHECK_FALSE(
      ParseOutputLine(absl::StrCat("{\"id\":\"batch_req_000000001\",\"x\":", std::string(1 << 20, '['))).has_value());
}

TEST_CASE("text that looks like a line of ours does not mislead") {
  ResponseContext context = Context();
  context.custom_id = R"({"id":"batch_req_000000099","error":{}})";
  BatchRequest request = Request(Endpoint::kChatCompletions);
  request.model = R"("usage":{"completion_tokens":55})";
  const auto done = ParseOutputLine(ResponseLine(context, Answered(request, {{'"', 0, {}}}, 1), Small()));
  REQUIRE(done.has_value());
  CHECK(done->line == 12);
  CHECK(done->completion_tokens == 1);
  CHECK(done->custom_id == context.custom_id);
}

}  // namespace
}  // namespace sluice
