// One line of a batch job's input: a request in the OpenAI Batch format.
//
// Lines are untrusted. A line that cannot be served parses to an error that says
// why, in the API's form; it never ends a job.
#ifndef SLUICE_SRC_BATCH_BATCH_REQUEST_H_
#define SLUICE_SRC_BATCH_BATCH_REQUEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "src/text/chat_template.h"

namespace sluice {

enum class Endpoint { kChatCompletions, kCompletions };

// `body.error` of an error line.
struct ApiError {
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;  // the body's field at fault; empty: null
  std::string code;   // empty: null
};

struct BatchRequest {
  static constexpr int kNoLogprobs = -1;

  Endpoint endpoint = Endpoint::kChatCompletions;
  std::string model;                   // as the body names it; answers repeat it
  std::vector<ChatMessage> messages;   // of a chat
  absl::optional<std::string> prompt;  // of a completion: text,
  std::vector<int32_t> prompt_tokens;  // or else token ids
  absl::optional<int64_t> max_tokens;  // max_completion_tokens wins over max_tokens
  double temperature = 1;
  double top_p = 1;
  absl::optional<uint64_t> seed;
  std::vector<std::string> stop;   // none of them empty
  int top_logprobs = kNoLogprobs;  // how many alternatives to tell; 0: the chosen token's alone
  bool ignore_eos = false;
};

struct ParsedLine {
  absl::optional<std::string> custom_id;  // absent when the line has none that can be read
  absl::optional<BatchRequest> request;
  ApiError error;  // why there is no request
};

// `line` is without its newline. An empty one stands for one that is too long to
// be held (see input_file.h).
ParsedLine ParseBatchLine(absl::string_view line);

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_BATCH_REQUEST_H_
