#include "src/engine/generate.h"

#include <algorithm>

#include "base/status.h"

namespace sluice {
namespace {

// Feeds the prompt and leaves the logits of its last token in `logits`.
absl::Status FeedPrompt(Engine* engine, const GenerateRequest& request, absl::Span<const float>* logits,
                        RunTimeline* timeline) {
  const int64_t total = static_cast<int64_t>(request.prompt.size());
  const int64_t bound = request.chunk_rows > 0 ? request.chunk_rows : engine->max_rows();
  const int64_t chunk = std::min(bound, engine->max_rows());
  const int64_t layers = engine->config().layers;
  std::vector<Row> rows;
  timeline->prompt_tokens = timeline->prompt_tokens_reused = request.computed;
  for (int64_t begin = request.computed; begin < total; begin += chunk) {
    const int64_t end = std::min(begin + chunk, total);
    rows.clear();
    for (int64_t i = begin; i < end; ++i)
      rows.push_back({0, i, request.prompt[i], /*wants_logits=*/i + 1 == total, /*generated=*/false});
    ASSIGN_OR_RETURN(*logits, engine->RunSweep(
                                  rows,
                                  [&](int layers_done) {
                                    request.on_prompt(begin * layers + (end - begin) * layers_done, total * layers);
                                  },
                                  /*next_rows=*/std::min(chunk, total - end)));
    timeline->prompt_tokens = end;
  }
  return absl::OkStatus();
}

absl::Status GenerateTokens(Engine* engine, const GenerateRequest& request, Sampler* sampler, RunTimeline* timeline) {
  absl::Span<const float> logits;
  const absl::Status prompt = FeedPrompt(engine, request, &logits, timeline);
  timeline->prompt_end = engine->counters();
  RETURN_IF_ERROR(prompt);
  int64_t position = static_cast<int64_t>(request.prompt.size());
  const int64_t last = std::min(position + request.max_tokens, engine->options().context);
  while (position < last) {
    const int32_t token = sampler->Sample(logits, position);
    ++timeline->generated_tokens;
    if (!request.on_token(token) || position + 1 == last) return absl::OkStatus();
    const Row row{0, position++, token, /*wants_logits=*/true, /*generated=*/true};
    ASSIGN_OR_RETURN(logits, engine->RunSweep({&row, 1}));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Generate(Engine* engine, const GenerateRequest& request, Sampler* sampler, RunTimeline* timeline) {
  timeline->begin = engine->counters();
  const absl::Status status = GenerateTokens(engine, request, sampler, timeline);
  timeline->end = engine->counters();
  return status;
}

}  // namespace sluice
