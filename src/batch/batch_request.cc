#include "src/batch/batch_request.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/batch/batch_prompt.h"
#include "src/batch/input_file.h"
#include "src/batch/untrusted_json.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

constexpr size_t kLongestIdBytes = 64 << 10;
constexpr int64_t kMostTopLogprobs = 20;
constexpr size_t kMostStops = 16;
constexpr size_t kLongestStopBytes = 1024;

// An option that is not supported, but for the value that asks for nothing.
struct FixedOption {
  const char* name;
  bool (*asks_for_nothing)(const Json& value);
  const char* cure;
};

bool IsZero(const Json& value) { return value.is_number() && value == 0; }
bool IsOne(const Json& value) { return value.is_number() && value == 1; }
bool IsFalse(const Json& value) { return value.is_boolean() && value == false; }
bool IsEmpty(const Json& value) { return value.is_structured() && value.empty(); }
bool IsEmptyText(const Json& value) { return value == ""; }
bool IsTextFormat(const Json& value) {
  return value.is_object() && value.size() == 1 && value.value("type", Json()) == "text";
}
bool IsTextAlone(const Json& value) { return value == Json::array({"text"}); }
bool IsOffTopK(const Json& value) { return value.is_number() && (value == 0 || value == -1); }
bool Never(const Json&) { return false; }

// Each would change the answer. Those below the line are other servers'.
constexpr FixedOption kFixedOptions[] = {
    {"n", IsOne, "it must be 1; repeat the line with another seed"},
    {"stream", IsFalse, "it must be false"},
    {"best_of", IsOne, "it must be 1"},
    {"echo", IsFalse, "it must be false"},
    {"suffix", IsEmptyText, "leave it out"},
    {"response_format", IsTextFormat, "it must be {\"type\": \"text\"}"},
    {"tools", IsEmpty, "leave it out"},
    {"functions", IsEmpty, "leave it out"},
    {"logit_bias", IsEmpty, "leave it out"},
    {"presence_penalty", IsZero, "it must be 0"},
    {"frequency_penalty", IsZero, "it must be 0"},
    {"modalities", IsTextAlone, "it must be [\"text\"]"},
    {"reasoning_effort", Never, "leave it out"},
    {"web_search_options", Never, "leave it out"},
    // ---
    {"top_k", IsOffTopK, "leave it out"},
    {"min_p", IsZero, "leave it out"},
    {"repetition_penalty", IsOne, "leave it out"},
    {"min_tokens", IsZero, "leave it out"},
    {"stop_token_ids", IsEmpty, "leave it out"},
};

bool CheckFixedOptions(const JsonFields& body) {
  for (const FixedOption& option : kFixedOptions) {
    const Json* value = body.Find(option.name);
    if (value == nullptr || option.asks_for_nothing(*value)) continue;
    return body.Fail(option.name,
                     absl::StrCat(option.name, " as ", DescribeJson(*value), " is not supported: ", option.cure),
                     "unsupported_value");
  }
  return true;
}

bool ReadMaxTokens(const JsonFields& body, BatchRequest* request) {
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    int64_t tokens = 0;
    if (!body.Read(name, 1, std::numeric_limits<int64_t>::max(), &tokens)) return false;
    if (tokens > 0) request->max_tokens = tokens;
  }
  return true;
}

bool ReadSeed(const JsonFields& body, BatchRequest* request) {
  const Json* seed = body.Find("seed");
  if (seed == nullptr) return true;
  if (!seed->is_number_integer()) return body.Refuse("seed", "a whole number of at most 64 bits");
  request->seed = seed->is_number_unsigned() ? seed->get<uint64_t>() : static_cast<uint64_t>(seed->get<int64_t>());
  return true;
}

bool ReadSampling(const JsonFields& body, BatchRequest* request) {
  if (!body.Read("temperature", 0.0, 2.0, &request->temperature)) return false;
  if (!body.Read("top_p", 0.0, 1.0, &request->top_p)) return false;
  if (request->top_p == 0) return body.Refuse("top_p", "a number above 0 and up to 1");
  return ReadSeed(body, request);
}

bool IsStop(const Json& value) {
  return value.is_string() && !value.empty() && value.get_ref<const std::string&>() != "" &&
         value.get_ref<const std::string&>().size() <= kLongestStopBytes;
}

bool ReadStop(const JsonFields& body, BatchRequest* request) {
  const Json* stop = body.Find("stop");
  if (stop == nullptr) return true;
  const std::string one = absl::StrCat("a string of 1 to ", kLongestStopBytes, " bytes");
  if (stop->is_string()) {
    if (!IsStop(*stop)) return body.Refuse("stop", one);
    request->stop.push_back(stop->get<std::string>());
    return true;
  }
  if (!stop->is_array() || stop->size() > kMostStops) {
    return body.Refuse("stop", absl::StrCat("a string or a list of at most ", kMostStops));
  }
  for (const Json& entry : *stop) {
    if (!IsStop(entry)) {
      return body.Fail("stop", absl::StrCat("each entry of stop must be ", one, ", not ", DescribeJson(entry)),
                       "invalid_value");
    }
    request->stop.push_back(entry.get<std::string>());
  }
  return true;
}

bool ReadChatLogprobs(const JsonFields& body, BatchRequest* request) {
  bool wanted = false;
  int64_t top = 0;
  if (!body.Read("logprobs", &wanted) || !body.Read("top_logprobs", 0, kMostTopLogprobs, &top)) return false;
  if (top > 0 && !wanted) return body.Fail("top_logprobs", "top_logprobs needs logprobs: true", "invalid_value");
  if (wanted) request->top_logprobs = static_cast<int>(top);
  return true;
}

bool ReadLogprobs(const JsonFields& body, BatchRequest* request) {
  if (request->endpoint == Endpoint::kChatCompletions) return ReadChatLogprobs(body, request);
  int64_t top = BatchRequest::kNoLogprobs;
  if (!body.Read("logprobs", 0, kMostTopLogprobs, &top)) return false;
  request->top_logprobs = static_cast<int>(top);
  return true;
}

bool ReadBody(const JsonFields& body, BatchRequest* request) {
  const bool is_chat = request->endpoint == Endpoint::kChatCompletions;
  return body.Read("model", &request->model) && (is_chat ? ReadMessages(body, request) : ReadPrompt(body, request)) &&
         CheckFixedOptions(body) && ReadMaxTokens(body, request) && ReadSampling(body, request) &&
         ReadStop(body, request) && ReadLogprobs(body, request) && body.Read("ignore_eos", &request->ignore_eos);
}

bool ReadCustomId(const JsonFields& line, absl::optional<std::string>* id) {
  std::string text;
  if (line.Find("custom_id") == nullptr) return line.Refuse("custom_id", "a string");
  if (!line.Read("custom_id", &text)) return false;
  if (text.empty()) return line.Refuse("custom_id", "a string that is not empty");
  if (text.size() > kLongestIdBytes) {
    return line.Refuse("custom_id", absl::StrCat("a string of at most ", kLongestIdBytes, " bytes"));
  }
  *id = std::move(text);
  return true;
}

bool ReadEndpoint(const JsonFields& line, Endpoint* endpoint) {
  std::string method = "POST";
  std::string url;
  if (!line.Read("method", &method) || !line.Read("url", &url)) return false;
  if (method != "POST") return line.Refuse("method", "\"POST\"");
  *endpoint = url == "/v1/completions" ? Endpoint::kCompletions : Endpoint::kChatCompletions;
  if (url == "/v1/completions" || url == "/v1/chat/completions") return true;
  return line.Refuse("url", "\"/v1/chat/completions\" or \"/v1/completions\"");
}

bool ReadLine(const Json& json, ParsedLine* parsed) {
  const JsonFields line(json, "", &parsed->error);
  BatchRequest request;
  if (!ReadCustomId(line, &parsed->custom_id) || !ReadEndpoint(line, &request.endpoint)) return false;
  const Json* body = line.Find("body");
  if (body == nullptr || !body->is_object()) return line.Refuse("body", "an object");
  if (!ReadBody(JsonFields(*body, "", &parsed->error), &request)) return false;
  parsed->request = std::move(request);
  return true;
}

void RefuseLine(absl::string_view message, ParsedLine* parsed) {
  parsed->error.message = std::string(message);
  parsed->error.code = "invalid_json_line";
}

}  // namespace

ParsedLine ParseBatchLine(absl::string_view line) {
  ParsedLine parsed;
  if (line.empty() || line.size() > InputFile::kLongestLineBytes) {
    RefuseLine(absl::StrCat("the line is longer than ", InputFile::kLongestLineBytes >> 20, " MiB"), &parsed);
    return parsed;
  }
  const absl::StatusOr<Json> json = ParseUntrustedJson(line);
  if (!json.ok()) {
    RefuseLine(absl::StrCat("the line is not JSON that can be served: ", json.status().message()), &parsed);
  } else if (!json->is_object()) {
    RefuseLine(absl::StrCat("the line must be a JSON object, not ", DescribeJson(*json)), &parsed);
  } else {
    ReadLine(*json, &parsed);
  }
  return parsed;
}

}  // namespace sluice
