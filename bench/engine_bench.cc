// Speed of a whole model with everything resident: no read is waited for.
//
//   prompt/TOKENS      tokens/s of a prompt given at once, in sweeps as the plan grants them
//   generate/CONTEXT   tokens/s of tokens generated one by one behind that many others
//
// usage: engine_bench MODEL RAM_GIB [LONGEST_PROMPT] [benchmark flags]. A first
// prompt of the longest kind (4096 tokens when not given), not counted, reads
// every expert; a budget that cannot hold them all is refused.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/status.h"
#include "src/engine/engine.h"

namespace sluice {
namespace {

constexpr int64_t kShortPrompt = 512;
constexpr int64_t kLongestPrompt = 4096;
constexpr int64_t kGenerated = 32;

// Spread over the vocabulary, the same in every run.
int32_t TokenAt(int64_t position, int64_t vocab) {
  return static_cast<int32_t>((static_cast<uint64_t>(position + 1) * 2654435761u >> 7) % static_cast<uint64_t>(vocab));
}

absl::Status FeedPrompt(Engine* engine, int64_t tokens) {
  std::vector<Row> rows;
  for (int64_t begin = 0; begin < tokens; begin += engine->max_rows()) {
    rows.clear();
    for (int64_t i = begin; i < std::min(tokens, begin + engine->max_rows()); ++i) {
      rows.push_back({0, i, TokenAt(i, engine->config().vocab), i + 1 == tokens, /*generated=*/false});
    }
    RETURN_IF_ERROR(engine->RunSweep(rows).status());
  }
  return absl::OkStatus();
}

absl::Status GenerateTokens(Engine* engine, int64_t position) {
  for (int64_t end = position + kGenerated; position < end; ++position) {
    const Row row{0, position, TokenAt(position, engine->config().vocab), /*wants_logits=*/true, /*generated=*/true};
    RETURN_IF_ERROR(engine->RunSweep({&row, 1}).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> LoadEverything(const std::string& path, uint64_t ram_bytes, int64_t longest) {
  EngineOptions options;
  options.ram_bytes = ram_bytes;
  options.context = longest + kGenerated;
  options.sweep_rows = longest;
  ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(path));
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(files), options));
  RETURN_IF_ERROR(FeedPrompt(engine.get(), longest));
  const uint64_t before = engine->counters().io.bytes_read;
  RETURN_IF_ERROR(FeedPrompt(engine.get(), std::min(longest, kShortPrompt)));
  if (engine->counters().io.bytes_read - before > (uint64_t{64} << 20)) {
    return absl::InvalidArgumentError("the model does not fit into the budget: experts were read again");
  }
  return engine;
}

void Run(benchmark::State& state, int64_t tokens, const std::function<absl::Status()>& body) {
  for (auto _ : state) {
    const absl::Status status = body();
    if (!status.ok()) {
      state.SkipWithError(std::string(status.message()).c_str());
      return;
    }
  }
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsIterationInvariantRate);
}

void RegisterAll(Engine* engine, int64_t longest) {
  const std::set<int64_t> lengths = {std::min(kShortPrompt, longest), longest};
  for (int64_t tokens : lengths) {
    benchmark::RegisterBenchmark(
        ("prompt/" + std::to_string(tokens)).c_str(),
        [=](benchmark::State& state) { Run(state, tokens, [=] { return FeedPrompt(engine, tokens); }); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  std::set<int64_t> contexts = lengths;
  contexts.insert(0);
  for (int64_t context : contexts) {
    benchmark::RegisterBenchmark(
        ("generate/" + std::to_string(context)).c_str(),
        [=](benchmark::State& state) { Run(state, kGenerated, [=] { return GenerateTokens(engine, context); }); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const int64_t longest = argc == 4 ? std::atoi(argv[3]) : sluice::kLongestPrompt;
  if (argc < 3 || argc > 4 || std::atoi(argv[2]) <= 0 || longest <= 0) {
    std::fprintf(stderr, "usage: engine_bench MODEL RAM_GIB [LONGEST_PROMPT] [benchmark flags]\n");
    return 2;
  }
  const auto engine = sluice::LoadEverything(argv[1], static_cast<uint64_t>(std::atoi(argv[2])) << 30, longest);
  if (!engine.ok()) {
    std::fprintf(stderr, "engine_bench: %s\n", std::string(engine.status().message()).c_str());
    return 1;
  }
  sluice::RegisterAll(engine->get(), longest);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
