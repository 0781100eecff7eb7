// Placement decides speed, never bits: the same logits under every condition.
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <memory>

#include "storage/faulty_block_reader.h"
#include "storage/forwarding_block_reader.h"
#include "tests/gates/harness.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

struct GateModel {
  const char* folder;
  const char* file;
};

// Float and quantised, both dialects, softmax and sigmoid, grouped.
constexpr GateModel kModels[] = {
    {"deepseek2-mla-q8_0", "model.gguf"},
    {"deepseek2-mla-quant", "model-Q4_K_M.gguf"},
    {"deepseek2-legacy-quant", "model-Q4_K_M.gguf"},
    {"deepseek2-lite", "model.gguf"},
    {"deepseek2-grouped", "model.gguf"},
};

constexpr size_t kLongest = 70;  // crosses a key block and the buffered sweeps' limit

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && !a.empty() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Everything resident, one thread, whole prompts, one sequence at a time.
GateConditions Baseline() {
  GateConditions conditions;
  conditions.engine.ram_bytes = uint64_t{1} << 30;
  conditions.engine.threads = 1;
  conditions.engine.io = IoBackend::kPread;
  return conditions;
}

// A pool that must evict, no pinned trunk, two stream slots.
GateConditions Streamed() {
  GateConditions conditions = Baseline();
  conditions.engine.max_class_slots = 5;
  conditions.engine.max_pinned_pieces = 0;
  conditions.engine.max_stream_slots = 2;
  return conditions;
}

void ForEachModel(const std::function<void(const std::string& path, const std::vector<std::vector<int32_t>>& prompts,
                                           const std::vector<float>& baseline)>& check) {
  SKIP_WITHOUT_SHARED("golden");
  for (const GateModel& model : kModels) {
    INFO(std::string(model.folder));
    const std::string path = SharedPath(std::string("golden/") + model.folder + "/" + model.file);
    const auto prompts = GoldenPrompts(model.folder, kLongest);
    const absl::StatusOr<GateRun> baseline = RunPrompts(path, prompts, Baseline());
    REQUIRE_MESSAGE(baseline.ok(), baseline.status().ToString());
    check(path, prompts, baseline->logits);
  }
}

GateRun MustRun(const std::string& path, const std::vector<std::vector<int32_t>>& prompts,
                const GateConditions& conditions) {
  absl::StatusOr<GateRun> run = RunPrompts(path, prompts, conditions);
  REQUIRE_MESSAGE(run.ok(), run.status().ToString());
  return *std::move(run);
}

TEST_CASE("logits are the same when experts and trunk stream with evictions") {
  ForEachModel([](const auto& path, const auto& prompts, const auto& baseline) {
    const GateRun run = MustRun(path, prompts, Streamed());
    CHECK(SameBits(run.logits, baseline));
    CHECK(run.counters.pool.evictions > 0);
    CHECK(run.counters.trunk_streamed_bytes > 0);
  });
}

TEST_CASE("logits are the same with each way of reading") {
  for (IoBackend io : {IoBackend::kAuto, IoBackend::kPread}) {
    ForEachModel([io](const auto& path, const auto& prompts, const auto& baseline) {
      GateConditions conditions = Streamed();
      conditions.engine.io = io;
      CHECK(SameBits(MustRun(path, prompts, conditions).logits, baseline));
    });
  }
  ForEachModel([](const auto& path, const auto& prompts, const auto& baseline) {
    GateConditions conditions = Baseline();
    conditions.engine.io = IoBackend::kMmap;
    const GateRun run = MustRun(path, prompts, conditions);
    CHECK(SameBits(run.logits, baseline));
    CHECK(run.counters.pool.hits == run.counters.pool.lookups);
  });
}

TEST_CASE("logits are the same with one, two and five threads") {
  for (int threads : {2, 5}) {
    ForEachModel([threads](const auto& path, const auto& prompts, const auto& baseline) {
      GateConditions conditions = Streamed();
      conditions.engine.threads = threads;
      CHECK(SameBits(MustRun(path, prompts, conditions).logits, baseline));
    });
  }
}

TEST_CASE("logits are the same however the prompt is cut") {
  for (int64_t chunk : {1, 7, 33, 64}) {
    ForEachModel([chunk](const auto& path, const auto& prompts, const auto& baseline) {
      GateConditions conditions = Baseline();
      conditions.chunk_rows = chunk;
      const GateRun run = MustRun(path, prompts, conditions);
      CHECK(SameBits(run.logits, baseline));
      CHECK(run.counters.sweeps >= kLongest / static_cast<size_t>(chunk));
    });
  }
}

TEST_CASE("logits are the same alone and sharing sweeps with other sequences") {
  ForEachModel([](const auto& path, const auto& prompts, const auto& baseline) {
    GateConditions conditions = Streamed();
    conditions.engine.shapes = {{.sequences = 3}};
    conditions.chunk_rows = 9;
    conditions.companions = {{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, {100}, {3, 3, 3, 3, 3, 3}};
    const GateRun together = MustRun(path, prompts, conditions);
    CHECK(SameBits(together.logits, baseline));
    // Fewer sweeps than one sequence at a time would take: they were shared.
    conditions.companions.clear();
    conditions.engine.shapes = {{.sequences = 1}};
    CHECK(together.counters.sweeps < MustRun(path, prompts, conditions).counters.sweeps);
  });
}

TEST_CASE("logits are the same when a union four times the pool arrives in random order") {
  uint64_t runs = 0, reordered = 0;
  for (uint64_t seed : {1, 2, 3}) {
    ForEachModel([&, seed](const auto& path, const auto& prompts, const auto& baseline) {
      GateConditions conditions = Streamed();
      conditions.engine.max_class_slots = 3;  // unions of 14 and more of 14 to 32 experts
      if (path.find("lite") != std::string::npos) conditions.engine.max_class_slots = 1;  // of 6
      conditions.engine.wrap_reader = [&](std::unique_ptr<BlockReader> reader) {
        FaultScript script;
        script.seed = seed;
        script.hold_back = 4;
        script.shorten_every = 5;
        return std::make_unique<FaultyBlockReader>(std::move(reader), script);
      };
      const GateRun run = MustRun(path, prompts, conditions);
      CHECK(SameBits(run.logits, baseline));
      CHECK(run.counters.pool.evictions > 0);
      reordered += run.counters.pool.out_of_order_arrivals;
      ++runs;
    });
  }
  // Some 200 of 3,000 loads. Over all runs: few are in flight together where unions are small, and how many decides the
  // host.
  if (runs > 0) CHECK(reordered > 50);
}

TEST_CASE("integer models give the same logits with every kernel set") {
  ForEachModel([](const auto& path, const auto& prompts, const auto& baseline) {
    for (const KernelSet* set : AvailableKernelSets()) {
      CAPTURE(std::string(set->name));
      GateConditions conditions = Baseline();
      conditions.engine.kernel_set = std::string(set->name);
      CHECK(SameBits(MustRun(path, prompts, conditions).logits, baseline));
    }
  });
}

TEST_CASE("the float path gives the same logits streamed and resident") {
  SKIP_WITHOUT_SHARED("golden");
  const std::string path = SharedPath("golden/deepseek2-mla-q8_0/model.gguf");
  const auto prompts = GoldenPrompts("deepseek2-mla-q8_0", 40);
  GateConditions resident = Baseline(), streamed = Streamed();
  resident.engine.compute = streamed.engine.compute = ComputeMode::kFloat;
  streamed.engine.threads = 2;
  streamed.chunk_rows = 7;
  const GateRun run = MustRun(path, prompts, streamed);
  CHECK(SameBits(run.logits, MustRun(path, prompts, resident).logits));
  CHECK(run.counters.pool.evictions > 0);
}

// Counts the reads of each copy.
class CountingReader final : public ForwardingBlockReader {
 public:
  CountingReader(std::unique_ptr<BlockReader> reader, int originals, uint64_t (*counts)[2])
      : ForwardingBlockReader(std::move(reader)), originals_(originals), counts_(counts) {}
  absl::Status Submit(absl::Span<const BlockRead> reads) override {
    for (const BlockRead& read : reads) ++(*counts_)[read.file >= originals_];
    return reader().Submit(reads);
  }

 private:
  int originals_;
  uint64_t (*counts_)[2];
};

TEST_CASE("logits are the same when two copies are read, one of which has a place that cannot be") {
  ForEachModel([](const auto& path, const auto& prompts, const auto& baseline) {
    uint64_t counts[2] = {0, 0};
    GateConditions conditions = Streamed();
    conditions.engine.mirror = path;
    conditions.engine.wrap_reader = [&](std::unique_ptr<BlockReader> reader) {
      FaultScript script;
      script.fail_read = 40;
      script.persistent = true;
      return std::make_unique<CountingReader>(std::make_unique<FaultyBlockReader>(std::move(reader), script), 1,
                                              &counts);
    };
    const GateRun run = MustRun(path, prompts, conditions);
    CHECK(SameBits(run.logits, baseline));
    CHECK(run.counters.io.retries > 0);
    CHECK(counts[0] > 50);
    CHECK(counts[1] > 50);
  });
}

}  // namespace
}  // namespace sluice
