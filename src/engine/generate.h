// One prompt in, tokens out.
#ifndef SLUICE_SRC_ENGINE_GENERATE_H_
#define SLUICE_SRC_ENGINE_GENERATE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "src/engine/engine.h"
#include "src/engine/stats.h"
#include "src/text/sampler.h"

namespace sluice {

struct GenerateRequest {
  std::vector<int32_t> prompt;  // at least one token, all in the vocabulary
  int64_t computed = 0;         // of the prompt, not all of it: sequence 0 holds their keys and values
  int64_t max_tokens = 0;
  int64_t chunk_rows = 0;  // bound on prompt rows of one sweep; 0: the plan's
  // Called with each token as it is chosen; false ends the generation.
  std::function<bool(int32_t token)> on_token;
  // How far the prompt has come, in rows times layers.
  std::function<void(int64_t done, int64_t total)> on_prompt = [](int64_t, int64_t) {};
};

// Runs sequence 0 of the engine. The timeline is filled whatever the outcome;
// Cancelled when the engine's stop flag was raised.
absl::Status Generate(Engine* engine, const GenerateRequest& request, Sampler* sampler, RunTimeline* timeline);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_GENERATE_H_
