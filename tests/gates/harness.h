// Runs a model in process under chosen conditions and keeps its logits.
#ifndef SLUICE_TESTS_GATES_HARNESS_H_
#define SLUICE_TESTS_GATES_HARNESS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/engine/engine.h"
#include "src/engine/prompt_scheduler.h"

namespace sluice {

struct GateRun {
  std::vector<float> logits;  // of every position of every prompt, in order
  EngineCounters counters;
  int64_t sweeps = 0;
};

struct GateConditions {
  EngineOptions engine;
  int64_t chunk_rows = 0;
  std::vector<std::vector<int32_t>> companions;  // share the sweeps
};

// The prompts of a golden folder, the long one cut to `longest` tokens.
std::vector<std::vector<int32_t>> GoldenPrompts(const std::string& folder, size_t longest);

// Logits of all positions of `prompts`.
absl::StatusOr<GateRun> RunPrompts(const std::string& model, const std::vector<std::vector<int32_t>>& prompts,
                                   GateConditions conditions);

// Hands a reader to an engine and keeps it for the test, also beyond the engine's end.
std::unique_ptr<BlockReader> Share(std::shared_ptr<BlockReader> reader);

}  // namespace sluice

#endif  // SLUICE_TESTS_GATES_HARNESS_H_
