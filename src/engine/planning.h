// From a model and what is asked of it to a request for a memory plan.
#ifndef SLUICE_SRC_ENGINE_PLANNING_H_
#define SLUICE_SRC_ENGINE_PLANNING_H_

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "src/model/forward.h"
#include "src/model/kv_cache.h"
#include "src/model/model_config.h"
#include "src/model/weight_layout.h"
#include "storage/memory_plan.h"
#include "storage/model_files.h"

namespace sluice {

// Memory that is not the engine's own.
struct CallerBytes {
  uint64_t peak = 0;  // the most there was before the engine, the header included
  uint64_t held = 0;  // what lives beside the engine: the tokenizer, the tokens of prompts
};

struct PlanFacts {
  const ModelFiles* files = nullptr;
  const ModelConfig* config = nullptr;
  const WeightLayout* layout = nullptr;
  const KernelSet* kernels = nullptr;
  ThreadPool* threads = nullptr;
  KvCache::Shape cache;
  uint32_t alignment = 4096;
  bool mapped = false;  // files are mapped: their size counts, nothing is copied
  CallerBytes caller;
};

// How many sequences share the sweeps, and the KV cache that serves them.
struct SequenceShape {
  int sequences = 1;
  int64_t kv_blocks = 0;    // shared by them; 0: every sequence has room for the whole context
  bool spilled = false;     // full blocks live on the drive
  uint64_t held_bytes = 0;  // what the caller keeps for them beside the engine
};

// Shapes for `most` sequences, half as many, and so on down to `fewest`.
std::vector<SequenceShape> HalvedShapes(int most, int fewest);

// What a sweep may ask for.
struct SweepWish {
  int64_t rows = 1;
  int64_t logits_rows = 1;
  int64_t fewest_rows = 1;  // a sweep of fewer, or with fewer logits, is of no use
};

// Bytes of the keys and the tensor directory as they are now.
uint64_t HeaderBytes(const ModelFiles& files);

// Bytes of the forward pass's workspace.
uint64_t WorkspaceBytes(const PlanFacts& facts, const ForwardLimits& limits);

// Everything that a plan divides the budget among, budget_bytes left 0.
PlanRequest MakeRequest(const PlanFacts& facts, const ForwardLimits& limits);

// The smallest sweep worth planning for: the floor is computed with it.
ForwardLimits SmallestLimits(const PlanFacts& facts, const SweepWish& wish);
// As many rows as are wished for while the workspace leaves the most of what
// lies above the floor to weights.
ForwardLimits GrantLimits(const PlanFacts& facts, const SweepWish& wish, uint64_t budget_bytes);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_PLANNING_H_
