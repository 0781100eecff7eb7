// The absorbed form against its definition, written down number by number.
#include "src/model/mla_absorbed.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "compute/ops.h"
#include "src/model/rope.h"
#include "tests/src/model/tiny_model.h"

namespace sluice {
namespace {

constexpr int64_t kContext = 1700;

ModelConfig Config(int64_t heads) {
  ModelConfig config;
  config.heads = static_cast<int>(heads);
  config.query_lora_rank = 20;
  config.kv_lora_rank = 104;  // ends within a part of the latent and a block of codes
  config.key_dims = 30;
  config.rope_dims = 14;
  config.value_dims = 24;
  config.split_kv_b = true;
  config.score_scale = 0.2f;
  return config;
}

// Float weights, a cache of random rows and rows of generated tokens at `positions`.
class Step {
 public:
  Step(const KernelSet& set, KvType type, int64_t heads, int threads, const std::vector<int64_t>& positions)
      : set_(set), config_(Config(heads)), heads_(heads), threads_(threads), memory_(size_t{64} << 20) {
    TestNumbers numbers(7);
    MakeCache(type, &numbers);
    queries_ = numbers.Many(heads * config_.key_dims * config_.query_lora_rank);
    keys_ = numbers.Many(heads * config_.kv_lora_rank * config_.nope_dims(), 0.3f);
    values_ = numbers.Many(heads * config_.value_dims * config_.kv_lora_rank);
    inputs_ = numbers.Many(static_cast<int64_t>(positions.size()) * config_.query_lora_rank);
    angles_ = numbers.Many(static_cast<int64_t>(positions.size()) * config_.rope_dims);
    for (int64_t position : positions) rows_.push_back({0, position, 0, false, /*generated=*/true});
  }

  // The heads' outputs, row by row.
  std::vector<float> Run() {
    const int64_t rows = static_cast<int64_t>(rows_.size());
    Arena arena(memory_.data(), memory_.size());
    Linear linear(&arena, &set_, &threads_);
    MlaAbsorbed absorbed(&arena, config_, &linear, rows, heads_);
    ActivationRows in(&arena, rows, config_.query_lora_rank, FormatSet());
    ActivationRows out(&arena, rows, heads_ * config_.value_dims, FormatSet());
    for (int64_t r = 0; r < rows; ++r) std::copy_n(Input(r), config_.query_lora_rank, in.row(r));
    in.Refill(rows);
    const SequenceRun run{0, true, 0, rows};
    const Sweep sweep{rows_, {&run, 1}, angles_.data()};
    absorbed.Run({0, &sweep, cache_.get(), Of(queries_, config_.query_lora_rank), Of(keys_, config_.nope_dims()),
                  Of(values_, config_.kv_lora_rank), 0, rows, 0, heads_, &out},
                 in.Quantize(set_, &threads_));
    std::vector<float> outputs;
    for (int64_t r = 0; r < rows; ++r) outputs.insert(outputs.end(), out.row(r), out.row(r) + out.width());
    return outputs;
  }

  // The output of one head of a row by the definition: keys in blocks of 64 that
  // are combined in order, each sum one chain.
  std::vector<float> Defined(int64_t row, int64_t head) {
    const int64_t latent = config_.kv_lora_rank;
    const std::vector<float> query = Query(row, head);
    std::vector<float> sums(static_cast<size_t>(latent)), scores(kKeyBlock);
    std::vector<float> keys(static_cast<size_t>(kKeyBlock * config_.kv_width()));
    float max = -std::numeric_limits<float>::infinity(), total = 0.0f, correction = 0.0f;
    const int64_t end = rows_[static_cast<size_t>(row)].position + 1;
    for (int64_t begin = 0; begin < end; begin += kKeyBlock) {
      const int64_t count = std::min(kKeyBlock, end - begin);
      cache_->Read(0, 0, begin, count, keys.data());
      for (int64_t j = 0; j < count; ++j) scores[j] = Score(query, keys.data() + j * config_.kv_width());
      set_.attention.softmax_step({scores.data(), 1, count, 1, &max, &total, &correction});
      for (int64_t i = 0; i < latent; ++i) {
        sums[i] *= correction;
        for (int64_t j = 0; j < count; ++j) sums[i] = std::fma(scores[j], keys[j * config_.kv_width() + i], sums[i]);
      }
    }
    const float inverse = 1.0f / total;
    for (float& sum : sums) sum *= inverse;
    return Product(values_, head * config_.value_dims, config_.value_dims, sums);
  }

  const ModelConfig& config() const { return config_; }

 private:
  void MakeCache(KvType type, TestNumbers* numbers) {
    KvCache::Shape shape;
    shape.type = type;
    shape.layers = shape.sequences = 1;
    shape.context = kContext;
    shape.width = config_.kv_width();
    auto cache = KvCache::Create(shape, &set_.ops);
    REQUIRE_MESSAGE(cache.ok(), cache.status().ToString());
    cache_ = std::make_unique<KvCache>(*std::move(cache));
    for (int64_t i = 0; i < kContext; ++i) cache_->Write(0, 0, i, numbers->Many(shape.width).data());
  }
  static Matrix Of(const std::vector<float>& values, int64_t n_in) {
    return {TensorType::kF32, reinterpret_cast<const uint8_t*>(values.data()), n_in,
            static_cast<int64_t>(values.size()) / n_in};
  }
  const float* Input(int64_t row) const { return inputs_.data() + row * config_.query_lora_rank; }
  // `count` rows of a matrix, from `first`, by a vector.
  std::vector<float> Product(const std::vector<float>& matrix, int64_t first, int64_t count,
                             const std::vector<float>& x) const {
    const int64_t n_in = static_cast<int64_t>(x.size());
    std::vector<float> out(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) out[i] = set_.ops.dot(matrix.data() + (first + i) * n_in, x.data(), n_in);
    return out;
  }
  // Absorbed, rotated and scaled.
  std::vector<float> Query(int64_t row, int64_t head) const {
    const std::vector<float> input(Input(row), Input(row) + config_.query_lora_rank);
    std::vector<float> query = Product(queries_, head * config_.key_dims, config_.key_dims, input);
    std::vector<float> rope(query.begin() + config_.nope_dims(), query.end());
    Rope::RotateNeighbours(angles_.data() + row * config_.rope_dims, config_.rope_dims, rope.data());
    query.resize(static_cast<size_t>(config_.nope_dims()));
    std::vector<float> absorbed = Product(keys_, head * config_.kv_lora_rank, config_.kv_lora_rank, query);
    absorbed.insert(absorbed.end(), rope.begin(), rope.end());
    for (float& x : absorbed) x *= config_.score_scale;
    return absorbed;
  }
  static float Score(const std::vector<float>& query, const float* key) {
    float score = 0.0f;
    for (size_t i = 0; i < query.size(); ++i) score = std::fma(key[i], query[i], score);
    return score;
  }

  const KernelSet& set_;
  ModelConfig config_;
  int64_t heads_;
  ThreadPool threads_;
  std::vector<uint8_t> memory_;
  std::unique_ptr<KvCache> cache_;
  std::vector<float> queries_, keys_, values_, inputs_, angles_;
  std::vector<Row> rows_;
};

TEST_CASE("the absorbed form has the bits of its definition, whoever shares the work") {
  const std::vector<int64_t> positions = {0, 63, 64, 800, 1535, 1536, 1699};
  for (const KernelSet* set : AvailableKernelSets()) {
    for (KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
      INFO(std::string(set->name) << " type " << static_cast<int>(type));
      // 18 heads: a whole vector and a rest. One thread takes all heads at once, two
      // a vector each, more share a row.
      Step alone(*set, type, 18, 1, positions);
      const std::vector<float> outputs = alone.Run();
      const int64_t dims = alone.config().value_dims;
      for (size_t row = 0; row < positions.size(); row += 2) {
        for (int64_t head : {0, 15, 16, 17}) {
          const std::vector<float> want = alone.Defined(static_cast<int64_t>(row), head);
          const float* got = outputs.data() + (static_cast<int64_t>(row) * 18 + head) * dims;
          REQUIRE(std::memcmp(got, want.data(), want.size() * sizeof(float)) == 0);
        }
      }
      REQUIRE(Step(*set, type, 18, 2, positions).Run() == outputs);
      const std::vector<int64_t> few = {1699, 64};
      const std::vector<float> of_few = Step(*set, type, 18, 1, few).Run();
      for (int threads : {2, 5}) REQUIRE(Step(*set, type, 18, threads, few).Run() == of_few);
    }
  }
}

}  // namespace
}  // namespace sluice
