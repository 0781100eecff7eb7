#include "storage/memory_plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace sluice {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

uint64_t SumOf(const std::vector<uint64_t>& values) {
  uint64_t sum = 0;
  for (uint64_t value : values) sum += value;
  return sum;
}

uint64_t FixedOf(const std::vector<PlanItem>& items) {
  uint64_t sum = 0;
  for (const PlanItem& item : items) sum += item.bytes;
  return sum;
}

uint64_t WantedPoolBytes(const PlanRequest& request) {
  uint64_t sum = 0;
  for (size_t c = 0; c < request.classes.size(); ++c) sum += request.classes[c].slot_bytes * request.class_records[c];
  return sum;
}

// Everything that the plan hands out, page tables included.
uint64_t SpentBytes(const MemoryPlan& plan) {
  return FixedOf(plan.fixed) + plan.pinned_bytes + plan.stream_slots * plan.stream_slot_bytes + plan.pool_bytes;
}

MemoryPlan Sound(const PlanRequest& request) {
  const absl::StatusOr<MemoryPlan> plan = MakePlan(request);
  REQUIRE_MESSAGE(plan.ok(), plan.status().ToString());
  return *plan;
}

void CheckTrunk(const PlanRequest& request, const MemoryPlan& plan) {
  const std::vector<uint64_t>& pieces = request.piece_bytes;
  REQUIRE(plan.pinned_pieces <= pieces.size());
  REQUIRE(plan.pinned_bytes == SumOf({pieces.begin(), pieces.begin() + static_cast<int64_t>(plan.pinned_pieces)}));
  if (plan.pinned_pieces == pieces.size()) {
    REQUIRE(plan.stream_slots == 0);
    return;
  }
  REQUIRE(plan.stream_slots >= 2);
  for (size_t i = plan.pinned_pieces; i < pieces.size(); ++i) REQUIRE(pieces[i] <= plan.stream_slot_bytes);
}

void CheckPool(const PlanRequest& request, const MemoryPlan& plan) {
  REQUIRE(plan.classes.size() == request.classes.size());
  uint64_t pool_bytes = 0;
  for (size_t c = 0; c < plan.classes.size(); ++c) {
    REQUIRE(plan.classes[c].slot_bytes == request.classes[c].slot_bytes);
    REQUIRE(plan.classes[c].slots >= std::min(request.min_slots, request.class_records[c]));
    REQUIRE(plan.classes[c].slots <= request.class_records[c]);
    pool_bytes += plan.classes[c].slot_bytes * plan.classes[c].slots;
    // What is left would not hold another expert that is not resident yet.
    if (plan.classes[c].slots < request.class_records[c]) REQUIRE(plan.unused_bytes < plan.classes[c].slot_bytes);
  }
  REQUIRE(plan.pool_bytes == pool_bytes);
}

void CheckPlan(const PlanRequest& request, const MemoryPlan& plan) {
  REQUIRE(plan.budget_bytes == request.budget_bytes);
  REQUIRE(plan.floor_bytes <= request.budget_bytes);
  REQUIRE(SpentBytes(plan) <= request.budget_bytes);
  REQUIRE(SpentBytes(plan) + plan.unused_bytes == request.budget_bytes);
  CheckTrunk(request, plan);
  CheckPool(request, plan);
}

// Sizes of every magnitude up to `limit`.
uint64_t AnySize(std::mt19937_64* random, uint64_t limit) { return ((*random)() >> ((*random)() % 64)) % (limit + 1); }

PlanRequest AnyRequest(std::mt19937_64* random, uint64_t limit) {
  PlanRequest request;
  for (uint64_t i = (*random)() % 4; i > 0; --i) request.fixed.push_back({"fixed", AnySize(random, limit)});
  for (uint64_t i = (*random)() % 30; i > 0; --i) request.piece_bytes.push_back(AnySize(random, limit));
  for (uint64_t i = (*random)() % 4; i > 0; --i) {
    request.classes.push_back({1 + AnySize(random, limit), static_cast<int>((*random)() % 50)});
    request.class_records.push_back(static_cast<int>(AnySize(random, 20000)));
  }
  request.min_slots = static_cast<int>((*random)() % 12);
  return request;
}

// DeepSeek-R1 in 4 bits: 61 layers of trunk and head, experts of two sizes.
PlanRequest R1() {
  PlanRequest request;
  request.fixed = {{"program", 30 << 20}, {"kv", 300 << 20}, {"activations", 200 << 20}};
  request.piece_bytes.assign(420, 24 << 20);
  request.classes = {{25 << 20, 0}, {29 << 20, 0}};
  request.class_records = {11000, 3848};
  request.min_slots = 9;
  return request;
}

TEST_CASE("no plan ever spends more than its budget, and the floor is the smallest that runs") {
  std::mt19937_64 random(1);
  int planned = 0;
  for (int trial = 0; trial < 5000; ++trial) {
    // Also sizes far beyond any machine, as long as their sums fit.
    PlanRequest request = AnyRequest(&random, trial % 2 == 0 ? uint64_t{1} << 34 : uint64_t{1} << 43);
    const uint64_t floor_bytes = FloorBytes(request);
    REQUIRE(floor_bytes < kMost);
    request.budget_bytes = floor_bytes;
    CheckPlan(request, Sound(request));
    for (int i = 0; i < 4; ++i) {
      request.budget_bytes = floor_bytes + AnySize(&random, uint64_t{1} << (30 + trial % 30));
      CheckPlan(request, Sound(request));
      ++planned;
    }
    if (floor_bytes == 0) continue;
    request.budget_bytes = floor_bytes - 1;
    REQUIRE(absl::IsResourceExhausted(MakePlan(request).status()));
  }
  CHECK(planned == 20000);
}

TEST_CASE("a budget below the floor is told the floor and the cure") {
  PlanRequest request = R1();
  request.budget_bytes = uint64_t{900} << 20;
  const absl::Status status = MakePlan(request).status();
  REQUIRE(absl::IsResourceExhausted(status));
  const uint64_t floor_mib = (FloorBytes(request) + (1 << 20) - 1) >> 20;
  CHECK(status.message().find(std::to_string(FloorBytes(request))) != absl::string_view::npos);
  CHECK(status.message().find("--ram " + std::to_string(floor_mib) + "M") != absl::string_view::npos);
  request.budget_bytes = floor_mib << 20;
  CHECK(MakePlan(request).ok());
}

TEST_CASE("when everything fits everything is resident and nothing streams") {
  std::mt19937_64 random(2);
  for (int trial = 0; trial < 1000; ++trial) {
    PlanRequest request = AnyRequest(&random, uint64_t{1} << 34);
    const uint64_t all = FixedOf(request.fixed) + SumOf(request.piece_bytes) + WantedPoolBytes(request);
    request.budget_bytes = all + all / 511 + 2;
    const MemoryPlan plan = Sound(request);
    CheckPlan(request, plan);
    REQUIRE(plan.pinned_pieces == request.piece_bytes.size());
    REQUIRE(plan.pool_bytes == WantedPoolBytes(request));
  }
}

TEST_CASE("more memory never gives less") {
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 100; ++trial) {
    PlanRequest request = trial == 0 ? R1() : AnyRequest(&random, uint64_t{1} << 30);
    const uint64_t floor_bytes = FloorBytes(request);
    const uint64_t all = floor_bytes + SumOf(request.piece_bytes) + WantedPoolBytes(request);
    const uint64_t largest =
        request.piece_bytes.empty() ? 0 : *std::max_element(request.piece_bytes.begin(), request.piece_bytes.end());
    MemoryPlan before;
    for (int step = 0; step <= 60; ++step) {
      request.budget_bytes = floor_bytes + (all - floor_bytes) / 60 * step;
      const MemoryPlan plan = Sound(request);
      // A further stream slot may cost a pinned piece, a pinned piece some experts.
      REQUIRE(plan.pinned_bytes + 2 * largest >= before.pinned_bytes);
      REQUIRE(plan.pool_bytes + 2 * largest >= before.pool_bytes);
      const bool streams = plan.pinned_pieces < request.piece_bytes.size();
      if (streams) REQUIRE(plan.stream_slots >= before.stream_slots);
      REQUIRE((step == 0 || streams || plan.pinned_pieces >= before.pinned_pieces));
      before = plan;
    }
  }
}

TEST_CASE("the trunk comes before experts beyond the least") {
  PlanRequest request = R1();
  request.budget_bytes = FloorBytes(request);
  MemoryPlan plan = Sound(request);
  CHECK(plan.stream_slots == 2);
  CHECK(plan.pinned_pieces == 0);
  CHECK(plan.classes[0].slots == 9);
  CHECK(plan.classes[1].slots == 9);
  request.budget_bytes = uint64_t{8} << 30;
  plan = Sound(request);
  CheckPlan(request, plan);
  CHECK(plan.pinned_pieces > 250);
  CHECK(plan.stream_slots == 8);
  CHECK(plan.classes[0].slots + plan.classes[1].slots <= 19);
  request.budget_bytes = uint64_t{64} << 30;
  plan = Sound(request);
  CheckPlan(request, plan);
  CHECK(plan.pinned_pieces == 420);
  // Both classes get the same share of their records.
  const double share = (plan.classes[0].slots - 9.0) / (11000 - 9);
  CHECK((plan.classes[1].slots - 9.0) / (3848 - 9) == doctest::Approx(share).epsilon(0.01));
  CHECK(share > 0.1);
}

TEST_CASE("a class of fewer records than the least is held whole") {
  PlanRequest request = R1();
  request.class_records = {11000, 4};
  request.budget_bytes = FloorBytes(request);
  const MemoryPlan plan = Sound(request);
  CheckPlan(request, plan);
  CHECK(plan.classes[1].slots == 4);
  request.class_records = {3, 0};
  request.budget_bytes = FloorBytes(request);
  CHECK(Sound(request).classes[0].slots == 3);
  CHECK(Sound(request).classes[1].slots == 0);
}

TEST_CASE("a trunk smaller than its stream slots is pinned at the floor") {
  PlanRequest request;
  request.piece_bytes = {100, 3000};
  request.budget_bytes = FloorBytes(request);
  CHECK(FloorBytes(request) == 3100 + 7);
  const MemoryPlan plan = Sound(request);
  CheckPlan(request, plan);
  CHECK(plan.pinned_pieces == 2);
}

TEST_CASE("nothing asked for needs nothing") {
  PlanRequest request;
  CHECK(FloorBytes(request) == 0);
  CheckPlan(request, Sound(request));
  request.fixed = {{"nothing", 0}};
  request.piece_bytes = {0, 0};
  request.classes = {{1, 0}};
  request.class_records = {0};
  request.min_slots = 5;
  CHECK(FloorBytes(request) == 0);
  CheckPlan(request, Sound(request));
  request.budget_bytes = 1 << 30;
  const MemoryPlan plan = Sound(request);
  CheckPlan(request, plan);
  CHECK(plan.pinned_pieces == 2);
  CHECK(plan.unused_bytes == (1 << 30) - (1 << 21));
}

TEST_CASE("sums that leave 64 bits are above every budget") {
  for (int what = 0; what < 4; ++what) {
    PlanRequest request;
    request.min_slots = 9;
    if (what == 0) request.fixed = {{"kv", kMost}, {"activations", 4096}};
    if (what == 1) request.piece_bytes = {kMost / 2, kMost / 2, kMost / 2, kMost / 2};
    if (what == 2) request.piece_bytes = {uint64_t{1} << 63, uint64_t{1} << 63};
    if (what == 3) request.classes = {{uint64_t{1} << 61, 0}}, request.class_records = {8};
    // Beyond, at and just below what fits.
    for (uint64_t budget_bytes : {uint64_t{16} << 30, kMost - 1, kMost}) {
      request.budget_bytes = budget_bytes;
      CHECK_MESSAGE(absl::IsResourceExhausted(MakePlan(request).status()), what);
    }
  }
  // The product with the share of page tables would wrap first.
  PlanRequest request;
  request.fixed = {{"kv", uint64_t{1} << 56}};
  request.budget_bytes = uint64_t{1} << 40;
  CHECK(FloorBytes(request) > uint64_t{1} << 56);
  CHECK(absl::IsResourceExhausted(MakePlan(request).status()));
}

TEST_CASE("the table for people names every part") {
  PlanRequest request = R1();
  request.budget_bytes = uint64_t{8} << 30;
  const std::string text = Sound(request).ToText();
  for (const char* part :
       {"budget", "floor", "kv", "activations", "page tables", "pinned", "streaming", "expert slots", "unused"}) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, part);
  }
}

}  // namespace
}  // namespace sluice
