#include "src/engine/prompt_scheduler.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace sluice {
namespace {

constexpr size_t kIdle = std::numeric_limits<size_t>::max();

}  // namespace

absl::Status CheckTokens(absl::Span<const int32_t> tokens, int64_t vocab) {
  for (int32_t token : tokens) {
    if (token < 0 || token >= vocab) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", token, " is outside the vocabulary of ", vocab, " tokens"));
    }
  }
  return absl::OkStatus();
}

absl::Status PromptScheduler::Run(absl::Span<const PromptJob> jobs, const OnLogits& on_logits) {
  next_job_ = 0;
  active_.assign(engine_->sequence_shape().sequences, {kIdle, 0});
  for (;;) {
    Admit(jobs);
    ComposeSweep(jobs);
    if (rows_.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(absl::Span<const float> logits, engine_->RunSweep(rows_));
    const size_t vocab = engine_->config().vocab;
    for (size_t r = 0; r < rows_.size(); ++r) {
      if (!rows_[r].wants_logits) continue;
      on_logits(row_jobs_[r], rows_[r].position, logits.first(vocab));
      logits.remove_prefix(vocab);
    }
  }
}

void PromptScheduler::Admit(absl::Span<const PromptJob> jobs) {
  for (Active& active : active_) {
    if (active.job != kIdle && active.position == static_cast<int64_t>(jobs[active.job].tokens.size())) {
      active.job = kIdle;
    }
    while (active.job == kIdle && next_job_ < jobs.size()) {
      if (!jobs[next_job_].tokens.empty()) active = {next_job_, 0};
      ++next_job_;
    }
  }
}

void PromptScheduler::ComposeSweep(absl::Span<const PromptJob> jobs) {
  rows_.clear();
  row_jobs_.clear();
  int64_t waiting = std::count_if(active_.begin(), active_.end(), [](const Active& a) { return a.job != kIdle; });
  int64_t rows_left = engine_->max_rows(), logits_left = engine_->max_logits_rows();
  for (size_t sequence = 0; sequence < active_.size(); ++sequence) {
    Active& active = active_[sequence];
    if (active.job == kIdle) continue;
    const PromptJob& job = jobs[active.job];
    const int64_t end = static_cast<int64_t>(job.tokens.size());
    int64_t share = CeilDiv(rows_left, waiting--);
    if (chunk_rows_ > 0) share = std::min(share, chunk_rows_);
    for (; share > 0 && active.position < end; --share, --rows_left, ++active.position) {
      const bool wants = job.wants_all || (job.wants_last && active.position + 1 == end);
      if (wants && logits_left == 0) break;
      logits_left -= wants;
      const int32_t token = job.tokens[active.position];
      rows_.push_back({static_cast<int>(sequence), active.position, token, wants, active.position >= job.given_tokens});
      row_jobs_.push_back(active.job);
    }
  }
}

}  // namespace sluice
