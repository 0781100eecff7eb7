// What a run cost: the stats object of the contract (README.md, "Numbers"), the same everywhere.
#ifndef SLUICE_SRC_ENGINE_STATS_H_
#define SLUICE_SRC_ENGINE_STATS_H_

#include <cstdint>
#include <string>

#include "nlohmann/json.hpp"
#include "src/engine/engine.h"

namespace sluice {

// Snapshots of a run: before the prompt, after its last sweep (which gives the
// first generated token), and at the end. `load_bytes` were read before the
// beginning on this run's account: what is pinned.
struct RunTimeline {
  uint64_t load_bytes = 0;
  EngineCounters begin;
  EngineCounters prompt_end;
  EngineCounters end;
  uint64_t prompt_tokens = 0;
  uint64_t prompt_tokens_reused = 0;  // of them, without being computed
  uint64_t generated_tokens = 0;
};

nlohmann::ordered_json StatsJson(const Engine& engine, const RunTimeline& timeline);
// A few lines for people.
std::string StatsText(const Engine& engine, const RunTimeline& timeline);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_STATS_H_
