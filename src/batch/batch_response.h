// Lines of a batch job's output, in the OpenAI Batch format.
//
// A line's id is made from its request's place in the input, so that it tells
// which lines are done even where custom_id is absent or doubled.
#ifndef SLUICE_SRC_BATCH_BATCH_RESPONSE_H_
#define SLUICE_SRC_BATCH_BATCH_RESPONSE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "src/batch/batch_request.h"
#include "src/batch/completion.h"

namespace sluice {

struct ResponseContext {
  uint64_t line = 0;  // of the request in the input, from 1
  absl::optional<std::string> custom_id;
  absl::string_view model;   // where the request names none
  int64_t created_unix = 0;  // seconds
};

// Both without a newline inside, ended by one.
std::string ResponseLine(const ResponseContext& context, const Completion& completion, const Tokenizer& tokenizer);
std::string ErrorLine(const ResponseContext& context, const ApiError& error);

// What a line of an output file says about which request is done.
struct DoneLine {
  uint64_t line = 0;
  absl::optional<std::string> custom_id;
  bool is_error = false;
  uint64_t completion_tokens = 0;
};
// Nothing for a line that the functions above did not write.
absl::optional<DoneLine> ParseOutputLine(absl::string_view line);

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_BATCH_RESPONSE_H_
