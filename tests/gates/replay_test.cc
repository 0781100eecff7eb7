// What the engine counts is what a replay of its own recorded routing counts.
#include "prefetch/replay.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/status.h"
#include "src/engine/generate.h"
#include "src/engine/trace_observer.h"
#include "storage/faulty_block_reader.h"
#include "tests/scratch_folder.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

struct Recorded {
  RoutingTrace trace;
  PoolCounters counters;
  std::vector<ExpertPool::SizeClass> classes;
};

struct Conditions {
  int slots = 0;           // of each size class
  int64_t chunk_rows = 1;  // of the prompt
  int64_t generated = 30;
  bool reordered = false;
};

absl::StatusOr<Recorded> Record(const std::string& path, const Conditions& conditions, const std::string& folder) {
  TraceObserver observer;
  EngineOptions options;
  options.ram_bytes = uint64_t{1} << 30;
  options.threads = 1;
  options.prefetch = false;
  options.context = 60;
  options.sweep_rows = conditions.chunk_rows;
  options.io = IoBackend::kPread;
  options.max_class_slots = conditions.slots;
  options.observer = &observer;
  if (conditions.reordered) {
    options.wrap_reader = [](std::unique_ptr<BlockReader> reader) {
      FaultScript script;
      script.hold_back = 3;
      return std::make_unique<FaultyBlockReader>(std::move(reader), script);
    };
  }
  ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(path));
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(files), options));
  RETURN_IF_ERROR(observer.Start(folder + "/trace", *engine));
  GenerateRequest request;
  for (int32_t token = 0; token < 20; ++token) request.prompt.push_back(2 + token * 7 % 250);
  request.max_tokens = conditions.generated;
  request.chunk_rows = conditions.chunk_rows;
  request.on_token = [](int32_t) { return true; };
  SamplerOptions sampling;
  sampling.temperature = 1;
  ASSIGN_OR_RETURN(Sampler sampler, Sampler::Create(sampling));
  RunTimeline timeline;
  RETURN_IF_ERROR(Generate(engine.get(), request, &sampler, &timeline));
  RETURN_IF_ERROR(observer.Finish());
  ASSIGN_OR_RETURN(RoutingTrace trace, RoutingTrace::Parse(ReadFileToString(folder + "/trace")));
  return Recorded{std::move(trace), engine->counters().pool, engine->plan().classes};
}

Recorded RecordOrDie(const std::string& path, const Conditions& conditions) {
  const ScratchFolder folder;
  auto recorded = Record(path, conditions, folder.path());
  REQUIRE_MESSAGE(recorded.ok(), recorded.status().ToString());
  return *std::move(recorded);
}

ReplayResult ReplayOf(const Recorded& recorded) {
  ReplayPool pool;
  for (const ExpertPool::SizeClass& size_class : recorded.classes) {
    pool.slots.push_back(static_cast<size_t>(size_class.slots));
  }
  for (const uint64_t bytes : recorded.trace.record_bytes()) {
    pool.class_of_layer.push_back(ExpertPool::ClassFor(recorded.classes, bytes));
  }
  const auto policy = MakeExpectedDistancePolicy(recorded.trace.layers(), recorded.trace.experts());
  return Replay(recorded.trace, *policy, pool);
}

// Returns how many records were evicted.
uint64_t CheckEqual(const std::string& path, const Conditions& conditions) {
  const Recorded recorded = RecordOrDie(path, conditions);
  const ReplayResult replayed = ReplayOf(recorded);
  CHECK(recorded.trace.tokens().size() == 20 + static_cast<size_t>(conditions.generated) - 1);
  CHECK(replayed.lookups == recorded.counters.lookups);
  CHECK(replayed.hits == recorded.counters.hits);
  // Not vacuous: some hit, many missed.
  CHECK(replayed.hits > 0);
  const size_t records = static_cast<size_t>(recorded.trace.layers() * recorded.trace.experts());
  CHECK(replayed.misses() > records / 4);
  return recorded.counters.evictions;
}

const char* const kModels[] = {"deepseek2-mla-quant/model-Q4_K_M.gguf", "deepseek2-legacy-quant/model-Q4_K_M.gguf",
                               "deepseek2-grouped/model.gguf", "deepseek2-lite/model.gguf"};

TEST_CASE("engine and replay count the same hits, one token at a time") {
  SKIP_WITHOUT_SHARED("golden");
  for (const char* const model : kModels) {
    CAPTURE(std::string(model));
    const std::string path = SharedPath(std::string("golden/") + model);
    CHECK(CheckEqual(path, {.slots = 5}) > 0);
    CheckEqual(path, {.slots = 9});
  }
}

TEST_CASE("engine and replay count the same hits when reads complete out of order") {
  SKIP_WITHOUT_SHARED("golden");
  CHECK(CheckEqual(SharedPath("golden/deepseek2-grouped/model.gguf"), {.slots = 9, .reordered = true}) > 0);
}

TEST_CASE("engine and replay count the same hits when a prompt is a few sweeps of many rows") {
  SKIP_WITHOUT_SHARED("golden");
  // Four choices of five rows at most: a union fits the slots.
  const std::string path = SharedPath("golden/deepseek2-grouped/model.gguf");
  CHECK(CheckEqual(path, {.slots = 20, .chunk_rows = 5, .generated = 35}) > 0);
}

TEST_CASE("the demonstration model counts like its replay") {
  CHECK(CheckEqual(std::string(SLUICE_SOURCE_DIR) + "/demo/storyteller-q4_k_m.gguf", {.slots = 9}) > 0);
}

}  // namespace
}  // namespace sluice
