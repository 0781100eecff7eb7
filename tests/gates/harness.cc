#include "tests/gates/harness.h"

#include <algorithm>

#include "base/status.h"
#include "nlohmann/json.hpp"
#include "storage/forwarding_block_reader.h"
#include "tests/test_data.h"

namespace sluice {
std::unique_ptr<BlockReader> Share(std::shared_ptr<BlockReader> reader) {
  return std::make_unique<ForwardingBlockReader>(std::move(reader));
}

std::vector<std::vector<int32_t>> GoldenPrompts(const std::string& folder, size_t longest) {
  const std::string text = ReadFileToString(SharedPath("golden/" + folder + "/prompts.json"));
  std::vector<std::vector<int32_t>> prompts = nlohmann::json::parse(text)["prompts"];
  for (std::vector<int32_t>& prompt : prompts) prompt.resize(std::min(prompt.size(), longest));
  return prompts;
}

absl::StatusOr<GateRun> RunPrompts(const std::string& model, const std::vector<std::vector<int32_t>>& prompts,
                                   GateConditions conditions) {
  std::vector<PromptJob> jobs;
  for (const auto& tokens : conditions.companions) jobs.push_back({tokens, /*wants_last=*/false});
  const size_t companions = jobs.size();
  size_t longest = 1;
  for (const auto& tokens : prompts) jobs.push_back({tokens, /*wants_last=*/true, /*wants_all=*/true});
  // Both forms of attention: the last third is replayed as if it had been generated.
  for (PromptJob& job : jobs) job.given_tokens = static_cast<int64_t>(job.tokens.size()) * 2 / 3;
  for (const PromptJob& job : jobs) longest = std::max(longest, job.tokens.size());
  EngineOptions options = conditions.engine;
  const int sequences = static_cast<int>(companions) + options.shapes[0].sequences;
  options.shapes = {options.shapes[0]};
  options.shapes[0].sequences = sequences;
  options.context = static_cast<int64_t>(longest);
  options.sweep_rows = options.logits_rows = sequences * options.context;
  ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(model));
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(files), options));

  GateRun run;
  std::vector<std::vector<float>> by_job(jobs.size());
  PromptScheduler scheduler(engine.get(), conditions.chunk_rows);
  RETURN_IF_ERROR(scheduler.Run(jobs, [&](size_t job, int64_t, absl::Span<const float> logits) {
    by_job[job].insert(by_job[job].end(), logits.begin(), logits.end());
  }));
  for (const std::vector<float>& logits : by_job) run.logits.insert(run.logits.end(), logits.begin(), logits.end());
  run.counters = engine->counters();
  return run;
}

}  // namespace sluice
