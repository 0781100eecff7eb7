// What a budget is predicted to read per token is what the engine reads.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/status.h"
#include "src/engine/generate.h"
#include "src/engine/speed_estimate.h"
#include "src/model/model_family.h"
#include "src/synth/synth_writer.h"
#include "tests/scratch_folder.h"

namespace sluice {
namespace {

constexpr int64_t kContext = 200;
constexpr int64_t kPrompt = 8;
constexpr int64_t kGenerated = 120;

// Every expert equally likely, at every token anew.
std::string WriteModel(const ScratchFolder& folder) {
  SynthOptions options;
  options.shape = *FindModelShape("tiny");
  options.shape.embedding = 512;
  options.shape.heads = 4;
  options.shape.dense_ffn = 512;
  options.shape.expert_ffn = 256;
  options.shape.experts = 48;
  options.shape.top_k = 4;
  options.shape.groups = options.shape.groups_used = 1;
  options.unique_layers = 0;
  auto model = DescribeSynthModel(options);
  REQUIRE_MESSAGE(model.ok(), model.status().ToString());
  const std::string path = folder.path() + "/model.gguf";
  auto writer = SynthWriter::Open(*std::move(model), path);
  REQUIRE_MESSAGE(writer.ok(), writer.status().ToString());
  ThreadPool threads(1);
  const absl::Status written = writer->Write(&threads, {});
  REQUIRE_MESSAGE(written.ok(), written.ToString());
  return path;
}

SpeedEstimate Predict(const std::string& path, uint64_t ram_bytes, uint32_t alignment) {
  auto files = ModelFiles::Open(path);
  REQUIRE_MESSAGE(files.ok(), files.status().ToString());
  const ModelFamily* const family = *FamilyOf(*files);
  const ModelConfig config = *family->read_config(*files);
  const WeightLayout layout = *LayOut(*family, *files, config);
  ThreadPool threads(1);
  PlanFacts facts;
  facts.files = &*files;
  facts.config = &config;
  facts.layout = &layout;
  facts.kernels = &BestKernelSet();
  facts.threads = &threads;
  facts.cache = {KvType::kF16, config.layers, 1, kContext, config.kv_width()};
  facts.alignment = alignment;
  return EstimateSpeed(facts, {1e9, 1e10}, ram_bytes);
}

struct Measured {
  double bytes_per_token = 0;
  uint64_t pinned_bytes = 0;
  int slots = 0;
  uint32_t alignment = 0;
  uint64_t trunk_streamed_bytes = 0;
  double hit_share = 0;
  double wasted_bytes_per_token = 0;  // of guesses, at most
};

absl::StatusOr<Measured> Run(const std::string& path, uint64_t ram_bytes, bool prefetch) {
  EngineOptions options;
  options.ram_bytes = ram_bytes;
  options.threads = 1;
  options.context = kContext;
  options.sweep_rows = 1;
  options.prefetch = prefetch;
  ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(path));
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(files), options));
  GenerateRequest request;
  for (int32_t i = 0; i < kPrompt; ++i) request.prompt.push_back(5 + 11 * i);
  request.max_tokens = kGenerated;
  request.on_token = [](int32_t) { return true; };
  SamplerOptions sampling;
  sampling.temperature = 1;
  sampling.seed = 3;
  ASSIGN_OR_RETURN(Sampler sampler, Sampler::Create(sampling));
  RunTimeline t;
  RETURN_IF_ERROR(Generate(engine.get(), request, &sampler, &t));
  Measured measured;
  const double tokens = static_cast<double>(t.generated_tokens - 1);
  measured.bytes_per_token = static_cast<double>(t.end.io.bytes_read - t.prompt_end.io.bytes_read) / tokens;
  measured.pinned_bytes = engine->plan().pinned_bytes;
  for (const ExpertPool::SizeClass& c : engine->plan().classes) measured.slots += c.slots;
  measured.alignment = engine->reader().alignment_bytes();
  measured.trunk_streamed_bytes = t.end.trunk_streamed_bytes;
  measured.hit_share = static_cast<double>(t.end.pool.hits - t.prompt_end.pool.hits) /
                       static_cast<double>(t.end.pool.lookups - t.prompt_end.pool.lookups);
  measured.wasted_bytes_per_token = static_cast<double>(t.end.pool.prefetches_wasted) *
                                    static_cast<double>(engine->plan().classes[0].slot_bytes) / tokens;
  return measured;
}

Measured RunOrDie(const std::string& path, uint64_t ram_bytes, bool prefetch) {
  const auto measured = Run(path, ram_bytes, prefetch);
  REQUIRE_MESSAGE(measured.ok(), measured.status().ToString());
  return *measured;
}

TEST_CASE("bytes per token are within three per cent of what was predicted") {
  const ScratchFolder folder;
  const std::string path = WriteModel(folder);
  const uint64_t floor_bytes = Predict(path, 1, 4096).floor_bytes;
  double least_hits = 1, most_hits = 0;
  bool any_trunk_streamed = false;
  for (const uint64_t mib_above_floor : {0, 3, 16}) {
    const uint64_t ram_bytes = floor_bytes + (mib_above_floor << 20);
    for (const bool prefetch : {false, true}) {
      const Measured measured = RunOrDie(path, ram_bytes, prefetch);
      const SpeedEstimate predicted = Predict(path, ram_bytes, measured.alignment);
      REQUIRE(predicted.runs);
      MESSAGE("floor + " << mib_above_floor << " MiB, guesses " << prefetch << ": predicted "
                         << predicted.bytes_per_token << " measured " << measured.bytes_per_token << " ratio "
                         << measured.bytes_per_token / predicted.bytes_per_token << "; hits predicted "
                         << predicted.hit_share << " measured " << measured.hit_share << "; slots " << measured.slots
                         << " trunk streamed " << measured.trunk_streamed_bytes);
      CHECK(measured.slots == predicted.slots);
      CHECK(measured.pinned_bytes == predicted.pinned_bytes);
      CHECK(measured.bytes_per_token > 0.97 * predicted.bytes_per_token);
      CHECK(measured.bytes_per_token - measured.wasted_bytes_per_token < 1.03 * predicted.bytes_per_token);
      // Not vacuous: tokens read experts.
      least_hits = std::min(least_hits, measured.hit_share);
      most_hits = std::max(most_hits, measured.hit_share);
      any_trunk_streamed |= measured.trunk_streamed_bytes > 0;
    }
  }
  CHECK(any_trunk_streamed);
  CHECK(least_hits < 0.1);
  CHECK(most_hits > 0.1);
  CHECK(most_hits < 0.9);
}

}  // namespace
}  // namespace sluice
