#include "src/batch/completion.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"

namespace sluice {
namespace {

// Of a token's text in an answer, with what its growth wastes.
constexpr uint64_t kTextBytesPerToken = 32;

SamplerOptions OptionsOf(const BatchRequest& request, uint64_t seed) {
  SamplerOptions options;
  options.temperature = request.temperature;
  options.top_p = request.top_p;
  options.seed = seed;
  return options;
}

Sampler MakeSampler(const BatchRequest& request, uint64_t seed) {
  absl::StatusOr<Sampler> sampler = Sampler::Create(OptionsOf(request, seed));
  SLUICE_CHECK(sampler.ok());
  return *std::move(sampler);
}

// Not-a-number ranks below everything, as in the sampler.
float Comparable(float logit) { return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit; }

// The logarithm of a softmax, over logits that outlive it.
class LogSoftmax {
 public:
  explicit LogSoftmax(absl::Span<const float> logits) : logits_(logits), best_(Comparable(logits[0])) {
    for (float logit : logits) best_ = std::max(best_, Comparable(logit));
    double sum = 0;
    for (float logit : logits) sum += std::exp(BelowBest(logit));
    log_sum_ = std::log(sum);
  }

  float Of(int32_t id) const { return static_cast<float>(BelowBest(logits_[static_cast<size_t>(id)]) - log_sum_); }

 private:
  // Equality first: infinities have no difference.
  double BelowBest(float logit) const {
    const float value = Comparable(logit);
    return value == best_ ? 0 : static_cast<double>(value) - static_cast<double>(best_);
  }

  absl::Span<const float> logits_;
  float best_;
  double log_sum_ = 0;
};

// The ids of the `count` highest logits, from the best down; equal ones by lower id.
std::vector<int32_t> HighestIds(absl::Span<const float> logits, size_t count) {
  std::vector<int32_t> ids;
  const auto ranks_before = [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  };
  for (size_t i = 0; i < logits.size() && count > 0; ++i) {
    const int32_t id = static_cast<int32_t>(i);
    if (std::isnan(logits[i]) || (ids.size() == count && !ranks_before(id, ids.back()))) continue;
    if (ids.size() == count) ids.pop_back();
    ids.insert(std::upper_bound(ids.begin(), ids.end(), id, ranks_before), id);
  }
  return ids;
}

// Where the first stop string begins; npos: none.
size_t FindStop(absl::string_view text, const std::vector<std::string>& stops) {
  size_t first = absl::string_view::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return first;
}

bool BeginsAStop(absl::string_view text, const std::vector<std::string>& stops) {
  return std::any_of(stops.begin(), stops.end(), [&](const std::string& stop) {
    return stop.size() > text.size() && stop.compare(0, text.size(), text.data(), text.size()) == 0;
  });
}

// Bytes at the end of `text` that may yet become a stop string.
size_t OpenStopBytes(absl::string_view text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) longest = std::max(longest, stop.size() - 1);
  for (size_t bytes = std::min(longest, text.size()); bytes > 0; --bytes) {
    if (BeginsAStop(text.substr(text.size() - bytes), stops)) return bytes;
  }
  return 0;
}

}  // namespace

absl::string_view AnswerBytes(const Tokenizer& tokenizer, int32_t token) {
  const bool is_known = token >= 0 && token < tokenizer.vocab_size();
  return is_known && !tokenizer.IsSpecial(token) ? tokenizer.TokenBytes(token) : absl::string_view();
}

Completion::Completion(BatchRequest request, int64_t prompt_tokens, int64_t max_tokens, uint64_t seed,
                       const Tokenizer* tokenizer)
    : request_(std::move(request)),
      prompt_tokens_(prompt_tokens),
      max_tokens_(max_tokens),
      seed_(seed),
      tokenizer_(tokenizer) {
  SLUICE_CHECK(max_tokens >= 1 && prompt_tokens >= 0);
  SLUICE_CHECK(std::find(request_.stop.begin(), request_.stop.end(), "") == request_.stop.end());
  tokens_.reserve(static_cast<size_t>(max_tokens));
}

ChosenToken Completion::Choose(absl::Span<const float> logits) const {
  const uint64_t position = static_cast<uint64_t>(prompt_tokens_) + tokens_.size();
  ChosenToken chosen;
  chosen.token = MakeSampler(request_, seed_).Sample(logits, position);
  if (request_.top_logprobs == BatchRequest::kNoLogprobs) return chosen;
  const LogSoftmax log_softmax(logits);
  chosen.logprob = log_softmax.Of(chosen.token);
  const std::vector<int32_t> top = HighestIds(logits, static_cast<size_t>(request_.top_logprobs));
  chosen.top.reserve(top.size());
  for (int32_t id : top) chosen.top.push_back({id, log_softmax.Of(id)});
  return chosen;
}

void Completion::Append(ChosenToken token) {
  SLUICE_CHECK(!finished());
  const bool is_end = !request_.ignore_eos && tokenizer_->IsEndOfGeneration(token.token);
  std::string text = is_end ? "" : stream_.Append(AnswerBytes(*tokenizer_, token.token));
  tokens_.push_back(std::move(token));
  const bool is_last = is_end || static_cast<int64_t>(tokens_.size()) >= max_tokens_;
  if (is_last) text += stream_.Flush();
  if (AppendText(text, is_last)) {
    finish_reason_ = "stop";
    is_cut_ = true;
  } else if (is_last) {
    finish_reason_ = is_end ? "stop" : "length";
  }
}

bool Completion::AppendText(absl::string_view text, bool is_last) {
  held_.append(text.data(), text.size());
  const size_t stop = FindStop(held_, request_.stop);
  const bool stops = stop != std::string::npos;
  const size_t open = stops || is_last ? 0 : OpenStopBytes(held_, request_.stop);
  const size_t certain = stops ? stop : held_.size() - open;
  text_.append(held_, 0, certain);
  held_.erase(0, stops ? std::string::npos : certain);
  return stops;
}

uint64_t Completion::MemoryBytes(const BatchRequest& request, int64_t max_tokens) {
  uint64_t bytes = request.model.capacity() + request.prompt_tokens.capacity() * sizeof(int32_t);
  if (request.prompt.has_value()) bytes += request.prompt->capacity();
  for (const std::string& stop : request.stop) bytes += sizeof(stop) + 2 * stop.capacity();
  for (const ChatMessage& message : request.messages) {
    bytes +=
        sizeof(message) + message.role.capacity() + (message.content.has_value() ? message.content->capacity() : 0);
    for (const ChatToolCall& call : message.tool_calls) {
      bytes += sizeof(call) + call.type.capacity() + call.name.capacity() + call.arguments.capacity();
    }
  }
  const uint64_t top = static_cast<uint64_t>(std::max(request.top_logprobs, 0));
  // The heap rounds each list of alternatives up and adds its own head.
  const uint64_t top_bytes = top == 0 ? 0 : top * sizeof(TokenLogprob) + 32;
  const uint64_t token_bytes = sizeof(ChosenToken) + top_bytes + kTextBytesPerToken;
  return SaturatingAdd(bytes, SaturatingMul(static_cast<uint64_t>(max_tokens), token_bytes));
}

}  // namespace sluice
