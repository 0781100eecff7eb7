// Runs many prompts through shared sweeps and hands out their logits.
//
// Each job is one sequence of given tokens. As many jobs as the engine has
// sequences are active at once; every sweep carries the next rows of all of
// them. Logits do not depend on who shares a sweep.
#ifndef SLUICE_SRC_ENGINE_PROMPT_SCHEDULER_H_
#define SLUICE_SRC_ENGINE_PROMPT_SCHEDULER_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "src/engine/engine.h"

namespace sluice {

struct PromptJob {
  std::vector<int32_t> tokens;
  bool wants_last = true;  // logits of the last position
  bool wants_all = false;  // of every position
  // Tokens from here on were generated: replayed, they keep that form.
  int64_t given_tokens = std::numeric_limits<int64_t>::max();
};

class PromptScheduler {
 public:
  using OnLogits = std::function<void(size_t job, int64_t position, absl::Span<const float> logits)>;

  // `chunk_rows` bounds the rows of one sequence in one sweep; 0 means no bound.
  PromptScheduler(Engine* engine, int64_t chunk_rows) : engine_(engine), chunk_rows_(chunk_rows) {}

  // Tokens must lie in the vocabulary and jobs fit the engine's context.
  // Positions of a job come in rising order.
  absl::Status Run(absl::Span<const PromptJob> jobs, const OnLogits& on_logits);

 private:
  struct Active {
    size_t job;
    int64_t position;
  };

  void Admit(absl::Span<const PromptJob> jobs);
  void ComposeSweep(absl::Span<const PromptJob> jobs);

  Engine* engine_;
  int64_t chunk_rows_;
  size_t next_job_ = 0;
  std::vector<Active> active_;  // by sequence; job == kIdle when free
  std::vector<Row> rows_;
  std::vector<size_t> row_jobs_;
};

// InvalidArgument naming the first token id outside [0, vocab).
absl::Status CheckTokens(absl::Span<const int32_t> tokens, int64_t vocab);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_PROMPT_SCHEDULER_H_
