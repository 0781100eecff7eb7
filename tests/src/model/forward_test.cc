#include "src/model/forward.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/src/model/model_runner.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

constexpr int64_t kTokens = 150;  // three blocks of keys, two blocks of rows

std::vector<TinyShape> Shapes() {
  std::vector<TinyShape> shapes(5);
  shapes[1].split_kv_b = false;
  shapes[1].query_lora = 0;
  shapes[1].has_bias = false;
  shapes[2] = TinyQ8Shape();
  shapes[2].shared = 0;
  // One step of more than one task of heads, and more than one step.
  shapes[3].heads = 40;
  shapes[3].embedding = 60;
  shapes[3].expert_ffn = 120;
  shapes[4] = TinyQ8Shape();
  shapes[4].split_kv_b = false;
  shapes[4].tied_head = true;
  shapes[4].dense_layers = 0;
  return shapes;
}

// All logits are numbers and positions differ: what follows compares something.
void RequireSound(const std::vector<float>& logits, int64_t vocab) {
  REQUIRE(static_cast<int64_t>(logits.size()) >= 2 * vocab);
  for (float value : logits) REQUIRE(std::isfinite(value));
  const absl::Span<const float> all(logits);
  REQUIRE_FALSE(SameBits(all.subspan(0, vocab), all.subspan(vocab, vocab)));
}

TEST_CASE("a row has the same bits alone, in any chunk of its prompt and above the reorder buffer") {
  for (const TinyShape& shape : Shapes()) {
    const TinyModel model(shape);
    ModelRunner runner(model.path(), {});
    const std::vector<int32_t> tokens = TestTokens(kTokens, shape.vocab, 1);
    const std::vector<float> whole = runner.RunSequence(0, tokens, kTokens);
    RequireSound(whole, shape.vocab);
    // Both ways of summing experts are taken.
    REQUIRE(MoeFfn::DeliveryFor(kTokens) == Delivery::kAscending);
    REQUIRE(MoeFfn::DeliveryFor(32) == Delivery::kArrival);
    for (int64_t chunk : {1, 7, 32, 33, 129}) {
      CHECK_MESSAGE(SameBits(runner.RunSequence(1, tokens, chunk), whole), "chunk " << chunk);
    }
  }
}

TEST_CASE("a row has the same bits whoever shares its sweep") {
  for (const TinyShape& shape : Shapes()) {
    const TinyModel model(shape);
    ModelRunner runner(model.path(), {});
    const std::vector<int32_t> tokens = TestTokens(90, shape.vocab, 1);
    const std::vector<float> alone = runner.RunSequence(1, tokens, 10);
    RequireSound(alone, shape.vocab);
    // Two others at different positions of their own, before and behind it.
    const std::vector<int32_t> first = TestTokens(110, shape.vocab, 2), second = TestTokens(60, shape.vocab, 3);
    std::vector<float> shared;
    for (int64_t sweep = 0; sweep < 9; ++sweep) {
      std::vector<Row> rows;
      ModelRunner::AppendRows(2, first, sweep * 30, sweep * 30 + 30, &rows);
      const size_t begin = rows.size() * shape.vocab;
      ModelRunner::AppendRows(1, tokens, sweep * 10, sweep * 10 + 10, &rows);
      ModelRunner::AppendRows(0, second, sweep, sweep + 1, &rows);
      const std::vector<float> logits = runner.Run(rows);
      const size_t values = 10 * static_cast<size_t>(shape.vocab);
      REQUIRE(logits.size() >= begin + values);
      shared.insert(shared.end(), logits.begin() + begin, logits.begin() + begin + values);
    }
    CHECK(SameBits(shared, alone));
  }
}

TEST_CASE("a prefix that is shared, even while it is written, gives the bits of one that is not") {
  for (const TinyShape& shape : Shapes()) {
    const TinyModel model(shape);
    std::vector<int32_t> first = TestTokens(100, shape.vocab, 2), second = first;
    for (size_t i = 64; i < second.size(); ++i) second[i] = (first[i] + 1) % shape.vocab;
    ModelRunner plain(model.path(), {});
    const std::vector<float> expected = plain.RunSequence(0, first, 100);
    const std::vector<float> expected_second = plain.RunSequence(1, second, 100);
    RunnerOptions options;
    options.kv_blocks = 6;  // 4 and 2: they would not fit without sharing
    ModelRunner runner(model.path(), options);
    REQUIRE(runner.cache().Reserve(2, 100));
    REQUIRE(runner.cache().Reserve(0, 100, runner.cache().blocks(2).first(2)));
    const size_t vocab = static_cast<size_t>(shape.vocab);
    // The sharing sequence first in the sweep: the order of rows does not matter.
    std::vector<Row> rows;
    ModelRunner::AppendRows(0, second, 64, 80, &rows);
    ModelRunner::AppendRows(2, first, 0, 70, &rows);
    const std::vector<float> together = runner.Run(rows);
    const absl::Span<const float> all(together);
    CHECK(SameBits(all.first(16 * vocab), absl::MakeSpan(expected_second).subspan(64 * vocab, 16 * vocab)));
    CHECK(SameBits(all.subspan(16 * vocab), absl::MakeSpan(expected).first(70 * vocab)));
    // The owner goes; what it wrote stays.
    runner.cache().Release(2);
    rows.clear();
    ModelRunner::AppendRows(0, second, 80, 100, &rows);
    CHECK(SameBits(runner.Run(rows), absl::MakeSpan(expected_second).subspan(80 * vocab)));
  }
}

TEST_CASE("threads, pool size and a streamed trunk change no bit") {
  for (const TinyShape& shape : Shapes()) {
    const TinyModel model(shape);
    const std::vector<int32_t> tokens = TestTokens(70, shape.vocab, 4);
    ModelRunner reference(model.path(), {});
    const std::vector<float> expected = reference.RunSequence(0, tokens, 70);
    RequireSound(expected, shape.vocab);
    for (int threads : {1, 2, 5}) {
      RunnerOptions options;
      options.threads = threads;
      options.class_slots = shape.top_k + 1;
      options.pinned_pieces = 1;
      ModelRunner runner(model.path(), options);
      REQUIRE(runner.streamed_bytes_per_sweep() > 0);
      for (int64_t chunk : {1, 70}) CHECK(SameBits(runner.RunSequence(1, tokens, chunk), expected));
      REQUIRE(runner.pool_counters().evictions > 0);
    }
  }
}

TEST_CASE("what stays in memory is interleaved where products gain by it, and that changes no bit") {
  for (TensorType type : {TensorType::kIQ1S, TensorType::kIQ2XXS, TensorType::kIQ2XS, TensorType::kIQ2S,
                          TensorType::kIQ3XXS, TensorType::kIQ3S, TensorType::kIQ4XS}) {
    const TinyShape shape = TinyCodebookShape(type);
    const TinyModel model(shape);
    const std::vector<int32_t> tokens = TestTokens(40, shape.vocab, 5);
    RunnerOptions options;
    options.class_slots = shape.top_k + 1;
    options.pinned_pieces = 1;
    ModelRunner streaming(model.path(), options);
    const std::vector<float> expected = streaming.RunSequence(0, tokens, 40);
    RequireSound(expected, shape.vocab);
    REQUIRE(streaming.pool_counters().evictions > 0);
    CHECK(streaming.RearrangedExperts() == 0);
    ModelRunner resident(model.path(), {});
    for (int64_t chunk : {40, 1}) CHECK(SameBits(resident.RunSequence(1, tokens, chunk), expected));
    const bool gains = BestKernelSet().For(type).matmul_interleaved != nullptr;
    CHECK((resident.RearrangedExperts() > shape.experts) == gains);
  }
}

TEST_CASE("a row keeps its bits whatever form its neighbours have") {
  for (const TinyShape& shape : Shapes()) {
    const TinyModel model(shape);
    const std::vector<int32_t> tokens = TestTokens(100, shape.vocab, 11);
    std::vector<std::vector<float>> by_chunk;
    for (int64_t chunk : {1, 7, 100}) {
      ModelRunner runner(model.path(), {});
      std::vector<float> logits;
      for (int64_t begin = 0; begin < 100; begin += chunk) {
        std::vector<Row> rows;
        ModelRunner::AppendRows(1, tokens, begin, std::min<int64_t>(100, begin + chunk), &rows);
        for (Row& row : rows) row.generated = row.position >= 66 && row.position < 90;
        const std::vector<float> part = runner.Run(rows);
        logits.insert(logits.end(), part.begin(), part.end());
      }
      RequireSound(logits, shape.vocab);
      by_chunk.push_back(logits);
    }
    CHECK(SameBits(by_chunk[1], by_chunk[0]));
    CHECK(SameBits(by_chunk[2], by_chunk[0]));
    // Not vacuous: the other form has other bits.
    ModelRunner runner(model.path(), {});
    CHECK_FALSE(SameBits(runner.RunSequence(0, tokens, 100), by_chunk[0]));
  }
}

TEST_CASE("every cache type gives one set of bits, and the types differ") {
  const TinyModel model{TinyShape{}};
  const std::vector<int32_t> tokens = TestTokens(80, 50, 5);
  std::vector<std::vector<float>> by_type;
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    RunnerOptions options;
    options.kv = type;
    ModelRunner runner(model.path(), options);
    by_type.push_back(runner.RunSequence(0, tokens, 80));
    CHECK(SameBits(runner.RunSequence(2, tokens, 9), by_type.back()));
  }
  CHECK_FALSE(SameBits(by_type[0], by_type[1]));
  CHECK_FALSE(SameBits(by_type[1], by_type[2]));
  for (size_t i = 0; i < by_type[0].size(); ++i) REQUIRE(std::fabs(by_type[0][i] - by_type[1][i]) < 0.1f);
}

TEST_CASE("every instruction set gives the same bits") {
  TinyShape shape = TinyQ8Shape();
  const TinyModel model(shape);
  const std::vector<int32_t> tokens = TestTokens(40, shape.vocab, 6);
  std::vector<float> first;
  for (const KernelSet* kernels : AvailableKernelSets()) {
    RunnerOptions options;
    options.kernels = kernels;
    ModelRunner runner(model.path(), options);
    const std::vector<float> logits = runner.RunSequence(0, tokens, 40);
    if (first.empty()) first = logits;
    CHECK_MESSAGE(SameBits(logits, first), kernels->name);
  }
  RequireSound(first, shape.vocab);
}

TEST_CASE("the workspace takes what was counted, no more and no less") {
  for (const TinyShape& shape : Shapes()) {
    const TinyModel model(shape);
    for (int64_t max_rows : {1, 33, 200}) {
      RunnerOptions options;
      options.max_rows = max_rows;
      options.threads = 2;
      const ModelRunner runner(model.path(), options);
      CHECK(runner.used_bytes() == runner.counted_bytes());
      CHECK(runner.used_bytes() > 0);
    }
  }
}

TEST_CASE("only rows that want logits give them") {
  const TinyModel model{TinyShape{}};
  ModelRunner runner(model.path(), {});
  const std::vector<int32_t> tokens = TestTokens(5, 50, 8);
  const std::vector<float> all = runner.RunSequence(0, tokens, 5);
  std::vector<Row> rows;
  ModelRunner::AppendRows(1, tokens, 0, 5, &rows);
  for (Row& row : rows) row.wants_logits = row.position == 3;
  CHECK(SameBits(runner.Run(rows), absl::MakeConstSpan(all).subspan(3 * 50, 50)));
  for (Row& row : rows) row.wants_logits = false;
  CHECK(runner.Run(rows).empty());
  CHECK(SameBits(runner.RunSequence(2, tokens, 5), all));
}

TEST_CASE("a stopped sweep is cancelled and the next one is right") {
  const TinyModel model{TinyShape{}};
  RunnerOptions options;
  options.pinned_pieces = 2;
  ModelRunner runner(model.path(), options);
  const std::vector<int32_t> tokens = TestTokens(20, 50, 9);
  const std::vector<float> expected = runner.RunSequence(0, tokens, 20);
  std::vector<Row> rows;
  ModelRunner::AppendRows(1, tokens, 0, 20, &rows);
  runner.stop() = true;
  CHECK(absl::IsCancelled(runner.TryRun(rows).status()));
  runner.stop() = false;
  CHECK(SameBits(runner.Run(rows), expected));
}

TEST_CASE("a model without experts runs") {
  TinyShape dense;
  dense.dense_layers = dense.layers;
  const TinyModel model(dense);
  ModelRunner runner(model.path(), {});
  const std::vector<int32_t> tokens = TestTokens(40, dense.vocab, 10);
  const std::vector<float> logits = runner.RunSequence(0, tokens, 40);
  RequireSound(logits, dense.vocab);
  CHECK(SameBits(runner.RunSequence(1, tokens, 3), logits));
}

// The short prompt, whole, in float with a float cache.
double WorstLogit(const std::string& folder, bool generated) {
  const nlohmann::json prompts =
      nlohmann::json::parse(ReadFileToString(SharedPath(folder + "/prompts.json")), nullptr, false);
  REQUIRE_FALSE(prompts.is_discarded());
  const std::vector<int32_t> tokens = prompts["prompts"][1].get<std::vector<int32_t>>();
  const std::string npy = ReadFileToString(SharedPath(folder + "/model.last.npy"));
  RunnerOptions options;
  options.kv = KvType::kF32;
  options.kernels = &FloatKernelSet();
  options.threads = 2;
  options.context = options.max_rows = static_cast<int64_t>(tokens.size());
  ModelRunner runner(SharedPath(folder + "/model.gguf"), options);
  const size_t vocab = runner.config().vocab;
  REQUIRE(npy.size() >= 128 + 2 * vocab * sizeof(float));
  std::vector<float> expected(vocab);
  std::memcpy(expected.data(), npy.data() + 128 + vocab * sizeof(float), vocab * sizeof(float));
  std::vector<Row> rows;
  ModelRunner::AppendRows(0, tokens, 0, tokens.size(), &rows);
  for (Row& row : rows) row.wants_logits = row.position + 1 == static_cast<int64_t>(tokens.size());
  for (Row& row : rows) row.generated = generated;
  const std::vector<float> logits = runner.Run(rows);
  REQUIRE(logits.size() == vocab);
  double worst = 0.0;
  for (size_t i = 0; i < vocab; ++i) worst = std::max(worst, std::fabs(double{logits[i]} - expected[i]));
  return worst;
}

TEST_CASE("golden models give their known logits in float, in both forms of attention") {
  SKIP_WITHOUT_SHARED("golden");
  for (const char* folder : {"deepseek2-mla", "deepseek2-legacy", "deepseek2-lite", "deepseek2-grouped"}) {
    for (bool generated : {false, true}) {
      CHECK_MESSAGE(WorstLogit(std::string("golden/") + folder, generated) < 0.0015, folder << " " << generated);
    }
  }
}

}  // namespace
}  // namespace sluice
