#include "src/engine/speed_estimate.h"

#include <doctest/doctest.h>

#include "src/model/model_family.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

// The demonstration model, ready to be planned for.
class Demo {
 public:
  Demo() : threads_(1) {
    auto files = ModelFiles::Open(std::string(SLUICE_SOURCE_DIR) + "/demo/storyteller-q4_k_m.gguf");
    REQUIRE_MESSAGE(files.ok(), files.status().ToString());
    files_ = *std::move(files);
    const ModelFamily* const family = *FamilyOf(files_);
    config_ = *family->read_config(files_);
    layout_ = *LayOut(*family, files_, config_);
    facts_.files = &files_;
    facts_.config = &config_;
    facts_.layout = &layout_;
    facts_.kernels = &BestKernelSet();
    facts_.threads = &threads_;
    facts_.cache = {KvType::kF16, config_.layers, 1, 128, config_.kv_width()};
  }
  SpeedEstimate At(uint64_t ram_bytes, double drive = 1e9, double kernel = 1e10) const {
    return EstimateSpeed(facts_, {drive, kernel}, ram_bytes);
  }
  const WeightLayout& layout() const { return layout_; }
  const ModelConfig& config() const { return config_; }

 private:
  ThreadPool threads_;
  ModelFiles files_;
  ModelConfig config_;
  WeightLayout layout_;
  PlanFacts facts_;
};

TEST_CASE("below the floor nothing is promised, at the floor it runs") {
  const Demo demo;
  const SpeedEstimate below = demo.At(1 << 20);
  CHECK_FALSE(below.runs);
  CHECK(below.limit == "floor");
  CHECK(below.tokens_per_minute == 0);
  REQUIRE(below.floor_bytes > 1 << 20);
  CHECK(demo.At(below.floor_bytes).runs);
}

TEST_CASE("more memory reads less, down to nothing") {
  const Demo demo;
  const uint64_t floor_bytes = demo.At(1 << 20).floor_bytes;
  const SpeedEstimate tight = demo.At(floor_bytes), roomy = demo.At(uint64_t{1} << 32);
  CHECK(tight.slots < roomy.slots);
  CHECK(tight.bytes_per_token > 0);
  CHECK(tight.bytes_per_token > roomy.bytes_per_token);
  CHECK(tight.tokens_per_minute <= roomy.tokens_per_minute);
  CHECK(roomy.hit_share == 1);
  CHECK(roomy.bytes_per_token == doctest::Approx(0));
  CHECK(roomy.limit == "compute");
}

TEST_CASE("a token reads what routing asks for and memory does not hold") {
  const Demo demo;
  const SpeedEstimate estimate = demo.At(demo.At(1 << 20).floor_bytes);
  // In whole blocks, as the drive gives them.
  uint64_t expert_bytes = 0, trunk_bytes = 0;
  for (const Record& record : demo.layout().experts) expert_bytes += SlotBytes(record, 4096);
  for (const TrunkPiece& piece : demo.layout().pieces) trunk_bytes += SlotBytes(piece.record, 4096);
  const double routed = static_cast<double>(expert_bytes) * demo.config().routing.top_k / demo.config().routing.experts;
  const double streamed = static_cast<double>(trunk_bytes - estimate.pinned_bytes);
  CHECK(estimate.bytes_per_token == doctest::Approx(routed * (1 - estimate.hit_share) + streamed));
  CHECK(estimate.drive_seconds == doctest::Approx(estimate.bytes_per_token / 1e9));
}

TEST_CASE("the slower of drive and cores is the limit, and a faster one helps") {
  const Demo demo;
  const uint64_t floor_bytes = demo.At(1 << 20).floor_bytes;
  CHECK(demo.At(floor_bytes, 1e7, 1e12).limit == "drive");
  CHECK(demo.At(floor_bytes, 1e12, 1e7).limit == "compute");
  CHECK(demo.At(floor_bytes, 2e7, 1e12).tokens_per_minute > 1.9 * demo.At(floor_bytes, 1e7, 1e12).tokens_per_minute);
}

}  // namespace
}  // namespace sluice
