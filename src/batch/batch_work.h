// What a batch job has to do: its input, line by line, and how much each line
// asks for.
//
// Answers are known by the number of their line; the output's lines say which
// are done. Memory: MemoryBytes a line; documents themselves are read when their
// turn comes. One thread.
#ifndef SLUICE_SRC_BATCH_BATCH_WORK_H_
#define SLUICE_SRC_BATCH_BATCH_WORK_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/variant.h"
#include "src/batch/batch_request.h"
#include "src/batch/batch_response.h"
#include "src/batch/input_file.h"
#include "src/batch/prompt_encoder.h"

namespace sluice {

// What bounds an answer, beside what its request says.
struct TokenLimits {
  static constexpr int64_t kDefaultMaxTokens = 1024;

  // Positions that the KV cache has room for within the budget.
  int64_t most_positions = std::numeric_limits<int64_t>::max();
  int64_t context_length = 0;          // of the model: prompt and answer
  absl::optional<int64_t> max_tokens;  // of an answer, whatever its request says
};

// A request that can be served.
struct EncodedRequest {
  absl::optional<std::string> custom_id;
  BatchRequest request;
  std::vector<int32_t> prompt;
  int64_t max_tokens = 0;
};

// One that cannot, and why.
struct RefusedRequest {
  absl::optional<std::string> custom_id;
  ApiError error;
};

class BatchWork {
 public:
  // What a line asks for; nothing when it is an error, or done.
  struct Demand {
    int64_t prompt_tokens = 0;
    int64_t max_tokens = 0;
    uint64_t memory_bytes = 0;  // of the document while it is in flight
    // Of the KV cache: the keys of an answer's last token serve nobody.
    int64_t positions() const { return max_tokens > 0 ? prompt_tokens + max_tokens - 1 : 0; }
  };

  // Reads the input once: its lines and their custom_ids.
  static absl::StatusOr<BatchWork> Open(const std::string& input_path);

  // A finished line of the output. FailedPrecondition when the input has another
  // request there: the output belongs to another job.
  absl::Status MarkDone(const DoneLine& done);
  // Encodes what is not done, to learn what it asks for.
  absl::Status Measure(const PromptEncoder& encoder, const TokenLimits& limits,
                       const std::function<void(uint64_t done, uint64_t total)>& progress);

  // Reads line `index` again.
  absl::StatusOr<absl::variant<EncodedRequest, RefusedRequest>> Take(size_t index, const PromptEncoder& encoder,
                                                                     const TokenLimits& limits) const;

  const InputFile& input() const { return input_; }
  size_t lines() const { return input_.lines(); }
  bool done(size_t index) const { return states_[index] == State::kDone; }
  const Demand& demand(size_t index) const { return demands_[index]; }
  size_t lines_done() const { return lines_done_; }
  // Of the line that takes the most memory while it is parsed: each is, answered or not.
  uint64_t longest_line_bytes() const { return longest_line_bytes_; }
  uint64_t memory_bytes() const;

 private:
  enum class State : uint8_t { kWaiting, kDoubled, kDone };

  explicit BatchWork(InputFile input) : input_(std::move(input)) {}
  absl::variant<EncodedRequest, RefusedRequest> Encode(size_t index, absl::string_view line,
                                                       const PromptEncoder& encoder, const TokenLimits& limits) const;

  InputFile input_;
  std::vector<State> states_;        // by index
  std::vector<uint64_t> id_hashes_;  // of custom_ids, to know the output's lines by
  std::vector<Demand> demands_;
  size_t lines_done_ = 0;
  uint64_t longest_line_bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_BATCH_WORK_H_
