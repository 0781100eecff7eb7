// Speed of latent attention at DeepSeek-R1's sizes, HEADS heads of one layer.
//
//   absorbed/SET/CACHE/HEADS/CONTEXT/THREADS    one generated row that looks back at CONTEXT keys
//   expanded/SET/CACHE/HEADS/CONTEXT/THREADS    512 given rows, the last of which sees CONTEXT keys
//
// ops/s counts two per multiply-accumulate of scores and sums alone, what the
// model's mathematics asks of the form; the projections of the step (queries,
// keys, values) are in the time.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/arena.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "src/model/mla_absorbed.h"
#include "src/model/mla_expanded.h"

namespace sluice {
namespace {

constexpr int64_t kGivenRows = 512;

struct Case {
  const KernelSet* set;
  bool generated;
  KvType cache;
  int64_t heads, context;
  int threads;

  int64_t rows() const { return generated ? 1 : std::min(kGivenRows, context); }
  std::string name() const {
    return absl::StrCat(generated ? "absorbed/" : "expanded/", set->name, cache == KvType::kF16 ? "/f16/" : "/q8_0/",
                        heads, "/", context, "/", threads);
  }
};

ModelConfig Config(int64_t heads) {
  ModelConfig config;
  config.heads = static_cast<int>(heads);
  config.query_lora_rank = 1536;
  config.kv_lora_rank = 512;
  config.key_dims = 192;
  config.rope_dims = 64;
  config.value_dims = 128;
  config.split_kv_b = true;
  config.score_scale = 0.1f;
  return config;
}

// Small codes with ordinary scales, the same in every run.
Matrix Q8Matrix(int64_t n_in, int64_t rows, std::vector<uint8_t>* storage) {
  storage->resize(static_cast<size_t>(rows * n_in / 32 * 34));
  for (size_t i = 0; i < storage->size(); ++i) {
    const uint16_t scale = 0x1c00;  // 2^-8
    (*storage)[i] = i % 34 < 2 ? static_cast<uint8_t>(scale >> 8 * (i % 34)) : static_cast<uint8_t>(i * 37 % 61 - 30);
  }
  return {TensorType::kQ8_0, storage->data(), n_in, rows};
}

// One step of a layer, everything but the heads' products made in advance.
class Step {
 public:
  explicit Step(const Case& of) : config_(Config(of.heads)), threads_(of.threads), memory_(size_t{256} << 20) {
    const int64_t rows = of.rows();
    MakeCache(of);
    Arena arena(memory_.data(), memory_.size());
    linear_ = std::make_unique<Linear>(&arena, of.set, &threads_);
    absorbed_ = std::make_unique<MlaAbsorbed>(&arena, config_, linear_.get(), rows, of.heads);
    expanded_ = std::make_unique<MlaExpanded>(&arena, config_, linear_.get(), rows, of.heads);
    FormatSet formats;
    formats.Add(ActivationFormat::kQ8Block32);
    inputs_ = std::make_unique<ActivationRows>(&arena, rows, config_.query_lora_rank, formats);
    outputs_ = std::make_unique<ActivationRows>(&arena, rows, of.heads * config_.value_dims, FormatSet());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < config_.query_lora_rank; ++i) inputs_->row(r)[i] = static_cast<float>(i % 13 - 6) * 0.1f;
      rows_.push_back({0, of.context - rows + r, 0, false, of.generated});
    }
    angles_.assign(static_cast<size_t>(rows * config_.rope_dims), 0.5f);
    run_ = {0, of.generated, 0, rows};
    inputs_->Refill(rows);
    sweep_ = {rows_, {&run_, 1}, angles_.data()};
    heads_ = {0,
              &sweep_,
              cache_.get(),
              Q8Matrix(config_.query_lora_rank, of.heads * config_.key_dims, &queries_),
              Q8Matrix(config_.nope_dims(), of.heads * config_.kv_lora_rank, &keys_),
              Q8Matrix(config_.kv_lora_rank, of.heads * config_.value_dims, &values_),
              0,
              rows,
              0,
              of.heads,
              outputs_.get()};
  }

  void Run(const KernelSet& set, bool generated) {
    const InputRows in = inputs_->Quantize(set, &threads_);
    generated ? absorbed_->Run(heads_, in) : expanded_->Run(heads_, in);
  }

 private:
  void MakeCache(const Case& of) {
    KvCache::Shape shape;
    shape.type = of.cache;
    shape.layers = shape.sequences = 1;
    shape.context = of.context;
    shape.width = config_.kv_width();
    auto cache = KvCache::Create(shape, &of.set->ops);
    SLUICE_CHECK(cache.ok());
    cache_ = std::make_unique<KvCache>(*std::move(cache));
    std::vector<float> row(static_cast<size_t>(config_.kv_width()));
    for (int64_t position = 0; position < of.context; ++position) {
      for (size_t i = 0; i < row.size(); ++i)
        row[i] = static_cast<float>((position * 7 + static_cast<int64_t>(i) * 3) % 17 - 8) * 0.05f;
      cache_->Write(0, 0, position, row.data());
    }
  }

  ModelConfig config_;
  ThreadPool threads_;
  std::vector<uint8_t> memory_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Linear> linear_;
  std::unique_ptr<MlaAbsorbed> absorbed_;
  std::unique_ptr<MlaExpanded> expanded_;
  std::unique_ptr<ActivationRows> inputs_;
  std::unique_ptr<ActivationRows> outputs_;
  std::vector<Row> rows_;
  std::vector<float> angles_;
  SequenceRun run_;
  Sweep sweep_;
  std::vector<uint8_t> queries_, keys_, values_;
  MlaHeads heads_;
};

void Attention(benchmark::State& state, const Case& of) {
  Step step(of);
  for (auto _ : state) step.Run(*of.set, of.generated);
  const ModelConfig config = Config(of.heads);
  const int64_t macs_per_key =
      of.generated ? config.kv_width() + config.kv_lora_rank : config.key_dims + config.value_dims;
  const double rows = static_cast<double>(of.rows());
  const double keys = rows * (static_cast<double>(of.context) - (rows - 1) / 2);
  state.counters["ops/s"] = benchmark::Counter(2.0 * keys * static_cast<double>(of.heads * macs_per_key),
                                               benchmark::Counter::kIsIterationInvariantRate);
}

void Register(const Case& of) {
  benchmark::RegisterBenchmark(of.name().c_str(), [of](benchmark::State& state) { Attention(state, of); })
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

void RegisterAll() {
  for (const KernelSet* set : AvailableKernelSets()) {
    if (set->name == "portable") continue;
    for (bool generated : {true, false}) {
      for (KvType cache : {KvType::kF16, KvType::kQ8_0}) {
        for (int64_t heads : {15, 16, 32}) {
          for (int64_t context : {128, 512, 4096, 32768, 131072}) {
            for (int threads : {1, 2}) Register({set, generated, cache, heads, context, threads});
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  sluice::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
