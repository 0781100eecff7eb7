#include "src/batch/batch_work.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "src/batch/seen_ids.h"

namespace sluice {
namespace {

// Lines without a custom_id are all alike.
uint64_t HashOf(const absl::optional<std::string>& custom_id) {
  return custom_id.has_value() ? XXH3_64bits_withSeed(custom_id->data(), custom_id->size(), 1) : 0;
}

ApiError ContextError(int64_t prompt_tokens, int64_t max_tokens, int64_t context_length) {
  ApiError error;
  error.message = absl::StrCat("the prompt of ", prompt_tokens, " tokens and an answer of up to ", max_tokens,
                               " are more than the model's context of ", context_length, " tokens");
  error.param = "max_tokens";
  error.code = "context_length_exceeded";
  return error;
}

ApiError BudgetError(int64_t positions, int64_t most_positions) {
  ApiError error;
  error.message =
      absl::StrCat("prompt and answer take ", positions, " positions of the KV cache, and the memory budget",
                   " has room for ", most_positions, "; give a larger --ram or a smaller max_tokens");
  error.param = "max_tokens";
  error.code = "kv_budget_exceeded";
  return error;
}

ApiError DoubledError(const std::string& custom_id) {
  ApiError error;
  error.message = absl::StrCat("an earlier line has the custom_id \"", custom_id, "\" too");
  error.param = "custom_id";
  error.code = "duplicate_custom_id";
  return error;
}

}  // namespace

absl::StatusOr<BatchWork> BatchWork::Open(const std::string& input_path) {
  std::vector<State> states;
  std::vector<uint64_t> id_hashes;
  uint64_t longest_line_bytes = 0;
  SeenIds seen;
  ASSIGN_OR_RETURN(InputFile input, InputFile::Open(input_path, [&](size_t, absl::string_view line) {
                     longest_line_bytes = std::max<uint64_t>(longest_line_bytes, line.size());
                     const absl::optional<std::string> custom_id = ParseBatchLine(line).custom_id;
                     const bool doubled = custom_id.has_value() && !seen.Insert(*custom_id);
                     states.push_back(doubled ? State::kDoubled : State::kWaiting);
                     id_hashes.push_back(HashOf(custom_id));
                     return absl::OkStatus();
                   }));
  BatchWork work(std::move(input));
  work.states_ = std::move(states);
  work.id_hashes_ = std::move(id_hashes);
  work.demands_.resize(work.lines());
  work.longest_line_bytes_ = longest_line_bytes;
  return work;
}

absl::Status BatchWork::MarkDone(const DoneLine& done) {
  const absl::optional<size_t> index = input_.Find(done.line);
  if (!index.has_value() || id_hashes_[*index] != HashOf(done.custom_id)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the output holds an answer to line ", done.line, " with the custom_id \"",
                     done.custom_id.value_or(""), "\", and the input has another request there, or none; give another ",
                     "-o to start a new job, or the input that the output belongs to"));
  }
  lines_done_ += states_[*index] != State::kDone;
  states_[*index] = State::kDone;
  return absl::OkStatus();
}

absl::Status BatchWork::Measure(const PromptEncoder& encoder, const TokenLimits& limits,
                                const std::function<void(uint64_t done, uint64_t total)>& progress) {
  for (size_t index = 0; index < lines(); ++index) {
    progress(index, lines());
    if (states_[index] != State::kWaiting) continue;
    ASSIGN_OR_RETURN(const std::string line, input_.Read(index));
    const auto encoded = Encode(index, line, encoder, limits);
    const auto* request = absl::get_if<EncodedRequest>(&encoded);
    if (request == nullptr) continue;
    const int64_t prompt_tokens = static_cast<int64_t>(request->prompt.size());
    demands_[index] = {
        prompt_tokens, request->max_tokens,
        request->prompt.size() * 2 * sizeof(int32_t) + Completion::MemoryBytes(request->request, request->max_tokens)};
  }
  progress(lines(), lines());
  return absl::OkStatus();
}

absl::StatusOr<absl::variant<EncodedRequest, RefusedRequest>> BatchWork::Take(size_t index,
                                                                              const PromptEncoder& encoder,
                                                                              const TokenLimits& limits) const {
  ASSIGN_OR_RETURN(const std::string line, input_.Read(index));
  return Encode(index, line, encoder, limits);
}

absl::variant<EncodedRequest, RefusedRequest> BatchWork::Encode(size_t index, absl::string_view line,
                                                                const PromptEncoder& encoder,
                                                                const TokenLimits& limits) const {
  ParsedLine parsed = ParseBatchLine(line);
  if (states_[index] == State::kDoubled) return RefusedRequest{parsed.custom_id, DoubledError(*parsed.custom_id)};
  if (!parsed.request.has_value()) return RefusedRequest{parsed.custom_id, parsed.error};
  auto encoded = encoder.Encode(*parsed.request);
  if (auto* error = absl::get_if<ApiError>(&encoded)) return RefusedRequest{parsed.custom_id, *error};

  EncodedRequest result{parsed.custom_id, *std::move(parsed.request),
                        absl::get<std::vector<int32_t>>(std::move(encoded)), 0};
  const int64_t prompt_tokens = static_cast<int64_t>(result.prompt.size());
  const int64_t room = limits.context_length - prompt_tokens;
  const absl::optional<int64_t> asked = result.request.max_tokens;
  result.max_tokens = asked.value_or(limits.max_tokens.value_or(TokenLimits::kDefaultMaxTokens));
  if (limits.max_tokens.has_value()) result.max_tokens = std::min(result.max_tokens, *limits.max_tokens);
  // A length that nobody asked for gives way.
  if (!asked.has_value()) result.max_tokens = std::min(result.max_tokens, room);
  if (result.max_tokens > room || result.max_tokens < 1) {
    return RefusedRequest{parsed.custom_id,
                          ContextError(prompt_tokens, std::max<int64_t>(result.max_tokens, 1), limits.context_length)};
  }
  if (prompt_tokens + result.max_tokens - 1 > limits.most_positions) {
    return RefusedRequest{parsed.custom_id, BudgetError(prompt_tokens + result.max_tokens - 1, limits.most_positions)};
  }
  return result;
}

uint64_t BatchWork::memory_bytes() const {
  return input_.memory_bytes() + lines() * (sizeof(State) + sizeof(uint64_t) + sizeof(Demand));
}

}  // namespace sluice
