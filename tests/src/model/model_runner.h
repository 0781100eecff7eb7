// A model with everything around its forward pass, sized by the test and not by
// a plan.
#ifndef SLUICE_TESTS_SRC_MODEL_MODEL_RUNNER_H_
#define SLUICE_TESTS_SRC_MODEL_MODEL_RUNNER_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/model/forward.h"
#include "src/model/model_family.h"
#include "tests/src/model/tiny_model.h"

namespace sluice {

struct RunnerOptions {
  KvType kv = KvType::kF16;
  const KernelSet* kernels = &BestKernelSet();
  int threads = 1;
  int sequences = 3;
  int64_t context = 256;
  int64_t kv_blocks = 0;  // 0: every sequence has its whole context
  int64_t max_rows = 256;
  size_t pinned_pieces = SIZE_MAX;
  int class_slots = 1 << 20;  // bounded by the records
};

class ModelRunner {
 public:
  ModelRunner(const std::string& path, const RunnerOptions& options)
      : options_(options), files_(OpenModel(path)), threads_(options.threads) {
    const ModelFamily* family = Must(FamilyOf(files_));
    config_ = Must(family->read_config(files_));
    layout_ = Must(LayOut(*family, files_, config_));
    StartStorage();
    MakeForward();
  }

  const ModelConfig& config() const { return config_; }
  const WeightLayout& layout() const { return layout_; }
  std::atomic<bool>& stop() { return stop_; }
  KvCache& cache() { return *cache_; }
  size_t counted_bytes() const { return counted_bytes_; }
  size_t used_bytes() const { return used_bytes_; }
  uint64_t streamed_bytes_per_sweep() const { return trunk_->streamed_bytes_per_sweep(); }
  PoolCounters pool_counters() const { return pool_->counters(); }
  // Experts whose bytes do not lie as filed. Reads what is not resident.
  int RearrangedExperts() {
    int count = 0;
    for (int layer = 0; layer < config_.moe_layers(); ++layer) {
      std::vector<int> all;
      for (int expert = 0; expert < config_.routing.experts; ++expert) all.push_back(expert);
      REQUIRE(pool_->Demand(layer, all, Delivery::kArrival).ok());
      while (const absl::optional<Lease> lease = Must(pool_->NextReady())) count += lease->rearranged() ? 1 : 0;
    }
    return count;
  }

  absl::StatusOr<absl::Span<const float>> TryRun(absl::Span<const Row> rows) { return forward_->Run(rows); }
  std::vector<float> Run(absl::Span<const Row> rows) {
    auto logits = forward_->Run(rows);
    REQUIRE_MESSAGE(logits.ok(), logits.status().ToString());
    return {logits->begin(), logits->end()};
  }

  // Logits of all tokens of one sequence, `chunk` rows at a time.
  std::vector<float> RunSequence(int sequence, absl::Span<const int32_t> tokens, int64_t chunk) {
    std::vector<float> all;
    for (int64_t begin = 0; begin < static_cast<int64_t>(tokens.size()); begin += chunk) {
      std::vector<Row> rows;
      AppendRows(sequence, tokens, begin, begin + chunk, &rows);
      const std::vector<float> logits = Run(rows);
      all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
  }

  // Rows of tokens [begin, end), cut at the sequence's end.
  static void AppendRows(int sequence, absl::Span<const int32_t> tokens, int64_t begin, int64_t end,
                         std::vector<Row>* rows) {
    for (int64_t i = begin; i < std::min<int64_t>(end, static_cast<int64_t>(tokens.size())); ++i) {
      rows->push_back({sequence, i, tokens[i], true});
    }
  }

 private:
  template <typename T>
  static T Must(absl::StatusOr<T> value) {
    REQUIRE_MESSAGE(value.ok(), value.status().ToString());
    return *std::move(value);
  }

  void StartStorage() {
    loader_ = RecordLoader::Start(OpenOrDie(IoBackend::kPread, files_.paths(), 8), files_.paths(), files_.file_sizes(),
                                  {4096, 8, 3});
    vectors_ = Must(ResidentVectors::Load(layout_, config_.layers, loader_.get()));
    TrunkStream::Options trunk;
    for (const TrunkPiece& piece : layout_.pieces) trunk.pieces.push_back(piece.record);
    trunk.head_begin = layout_.head_begin;
    for (size_t i = 0; i < layout_.pieces.size(); ++i) trunk.pinned.push_back(i < options_.pinned_pieces);
    trunk_ = Must(TrunkStream::Create(std::move(trunk), loader_.get()));
    REQUIRE(trunk_->LoadPinned([](uint64_t, uint64_t) {}).ok());
    if (config_.moe_layers() == 0) return;
    ExpertPool::Options pool{config_.moe_layers(), config_.routing.experts, layout_.experts, {}};
    pool.classes = ExpertPool::ClassesOf(layout_.experts, loader_->alignment_bytes());
    for (ExpertPool::SizeClass& size_class : pool.classes) {
      size_class.slots = std::min<int>(options_.class_slots, static_cast<int>(layout_.experts.size()));
    }
    pool_ = Must(ExpertPool::Create(std::move(pool), loader_.get(),
                                    MakeExpectedDistancePolicy(config_.moe_layers(), config_.routing.experts)));
  }

  void MakeForward() {
    const ForwardLimits limits{options_.max_rows, options_.max_rows, loader_->alignment_bytes()};
    ForwardContext context;
    context.config = &config_;
    context.layout = &layout_;
    context.kernels = options_.kernels;
    context.threads = &threads_;
    Arena counting;
    const Forward counted(&counting, context, limits);
    counted_bytes_ = counting.used_bytes();
    workspace_ = Must(AlignedBuffer::Create(counted_bytes_));
    cache_ = std::make_unique<KvCache>(Must(KvCache::Create(
        {options_.kv, config_.layers, options_.sequences, options_.context, config_.kv_width(), options_.kv_blocks},
        &options_.kernels->ops)));
    context.vectors = &vectors_;
    context.trunk = trunk_.get();
    context.pool = pool_.get();
    context.loader = loader_.get();
    context.cache = cache_.get();
    context.stop = &stop_;
    Arena arena(workspace_.data(), workspace_.size_bytes());
    forward_ = std::make_unique<Forward>(&arena, context, limits);
    used_bytes_ = arena.used_bytes();
    forward_->InterleavePinned();
  }

  RunnerOptions options_;
  ModelFiles files_;
  ModelConfig config_;
  WeightLayout layout_;
  ThreadPool threads_;
  std::unique_ptr<RecordLoader> loader_;
  ResidentVectors vectors_;
  std::unique_ptr<TrunkStream> trunk_;
  std::unique_ptr<ExpertPool> pool_;
  std::unique_ptr<KvCache> cache_;
  AlignedBuffer workspace_;
  std::atomic<bool> stop_{false};
  size_t counted_bytes_ = 0;
  size_t used_bytes_ = 0;
  std::unique_ptr<Forward> forward_;
};

inline bool SameBits(absl::Span<const float> a, absl::Span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline std::vector<int32_t> TestTokens(int64_t count, int64_t vocab, uint64_t seed) {
  TestNumbers numbers(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(numbers.Below(vocab));
  return tokens;
}

}  // namespace sluice

#endif  // SLUICE_TESTS_SRC_MODEL_MODEL_RUNNER_H_
