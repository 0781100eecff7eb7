#include "src/engine/machine_probe.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

// Between a wrist watch and a machine that does not exist.
constexpr double kSlowest = 1e6, kFastest = 1e13;

TEST_CASE("rates of memory and of products are those of a machine") {
  ThreadPool threads(2);
  const auto memory = MeasureMemoryRate(BestKernelSet(), &threads);
  REQUIRE(memory.ok());
  CHECK(*memory > kSlowest);
  CHECK(*memory < kFastest);
  for (const TensorType type : {TensorType::kQ4K, TensorType::kMXFP4, TensorType::kIQ1M}) {
    const auto rate = MeasureKernelRate(BestKernelSet(), type, &threads);
    REQUIRE(rate.ok());
    CHECK(*rate > kSlowest);
    CHECK(*rate < kFastest);
  }
}

}  // namespace
}  // namespace sluice
