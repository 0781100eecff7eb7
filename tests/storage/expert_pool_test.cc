#include "storage/expert_pool.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "tests/storage/test_pool.h"

namespace sluice {
namespace {

void CheckSweeps(PoolTest* test, Delivery delivery, size_t held, int sweeps, std::mt19937* random) {
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::vector<int> ids = RandomUnion(random);
      REQUIRE(test->pool->Demand(layer, ids, delivery).ok());
      auto order = Drain(test, layer, held);
      REQUIRE_MESSAGE(order.ok(), order.status().ToString());
      if (delivery == Delivery::kArrival) std::sort(order->begin(), order->end());
      CHECK(*order == ids);
    }
  }
}

TEST_CASE("any pool from one slot per class up delivers every union once and byte for byte") {
  const ScratchFiles files({FileBytes()});
  PoolCounters total;
  for (const int slots : {1, 2, 3, 5, 9, 40}) {
    for (const Delivery delivery : {Delivery::kArrival, Delivery::kAscending}) {
      for (uint64_t seed = 1; seed <= 4; ++seed) {
        FaultScript script;
        script.seed = seed;
        script.hold_back = seed == 1 ? 0 : 2 * seed;
        PoolTest test = MakePool(files, slots, script);
        std::mt19937 random(static_cast<unsigned>(seed));
        const size_t most_held = static_cast<size_t>(slots - 1);
        CheckSweeps(&test, delivery, std::min<size_t>(seed % 3, most_held), 8, &random);
        const PoolCounters counters = test.pool->counters();
        CHECK(counters.hits <= counters.lookups);
        // Every expert that was no hit was read once: a chunk holds a slice, if
        // not two of them its superset.
        CHECK(test.io.loader->counters().reads >= 3 * (counters.lookups - counters.hits));
        CHECK(test.io.loader->counters().reads <= 6 * (counters.lookups - counters.hits));
        total.hits += counters.hits;
        total.evictions += counters.evictions;
        total.out_of_order_arrivals += counters.out_of_order_arrivals;
        total.stall_ns += counters.stall_ns;
      }
    }
  }
  CHECK(total.hits > 1000);
  CHECK(total.evictions > 1000);
  CHECK(total.out_of_order_arrivals > 100);
  CHECK(total.stall_ns > 0);
}

TEST_CASE("a union four times the pool passes through it in order, whatever the order of arrival") {
  const ScratchFiles files({FileBytes()});
  FaultScript script;
  script.hold_back = 7;
  PoolTest test = MakePool(files, kExperts / 4, script);
  for (int sweep = 0; sweep < 5; ++sweep) {
    for (int layer = 0; layer < kLayers; ++layer) {
      REQUIRE(test.pool->Demand(layer, AllExperts(), Delivery::kAscending).ok());
      CHECK(*Drain(&test, layer, 0) == AllExperts());
    }
  }
  CHECK(test.pool->counters().evictions >= 5 * kLayers * kExperts * 3 / 4 - kExperts);
  CHECK(test.pool->counters().out_of_order_arrivals > 0);
}

TEST_CASE("in ascending order resident experts of high ids give way when they hold every slot") {
  const ScratchFiles files({FileBytes()});
  for (const int slots : {1, 2, 4}) {
    PoolTest test = MakePool(files, slots, {});
    std::vector<int> high;
    for (int i = kExperts - slots; i < kExperts; ++i) high.push_back(i);
    REQUIRE(test.pool->Demand(1, high, Delivery::kArrival).ok());
    REQUIRE(Drain(&test, 1, 0).ok());
    CHECK(test.pool->counters().hits == 0);
    REQUIRE(test.pool->Demand(1, AllExperts(), Delivery::kAscending).ok());
    CHECK(*Drain(&test, 1, 0) == AllExperts());
    // No more than two were given up, and those count as read.
    CHECK(test.pool->counters().hits == static_cast<uint64_t>(std::max(0, slots - 2)));
  }
}

TEST_CASE("by arrival hits come first, in ascending order, and cost no read") {
  const ScratchFiles files({FileBytes()});
  PoolTest test = MakePool(files, 12, {});
  const std::vector<int> first = {4, 9, 17};
  REQUIRE(test.pool->Demand(0, first, Delivery::kArrival).ok());
  REQUIRE(Drain(&test, 0, 0).ok());
  const uint64_t reads = test.io.loader->counters().reads;
  REQUIRE(test.pool->Demand(0, first, Delivery::kArrival).ok());
  CHECK(*Drain(&test, 0, 2) == first);
  CHECK(test.io.loader->counters().reads == reads);
  REQUIRE(test.pool->Demand(0, {1, 4, 5, 9, 17, 20}, Delivery::kArrival).ok());
  const std::vector<int> order = *Drain(&test, 0, 2);
  CHECK(std::vector<int>(order.begin(), order.begin() + 3) == first);
  CHECK(test.pool->counters().lookups == 12);
  CHECK(test.pool->counters().hits == 6);
}

TEST_CASE("what is leased or awaited stays while others come and go") {
  const ScratchFiles files({FileBytes()});
  PoolTest test = MakePool(files, 3, {});
  REQUIRE(test.pool->Demand(2, AllExperts(), Delivery::kArrival).ok());
  Lease kept = std::move(**test.pool->NextReady());
  for (int i = 1; i < kExperts; ++i) {
    Lease other = std::move(**test.pool->NextReady());
    CHECK(HoldsExpert(test, 2, other));
    CHECK(HoldsExpert(test, 2, kept));
  }
  CHECK_FALSE(test.pool->NextReady()->has_value());
  CHECK_FALSE(test.pool->NextReady()->has_value());
}

TEST_CASE("a single read error anywhere changes nothing") {
  const ScratchFiles files({FileBytes()});
  for (uint64_t number = 1; number <= 60; number += 3) {
    FaultScript script;
    script.fail_read = number;
    script.shorten_every = 5;
    PoolTest test = MakePool(files, 3, script);
    std::mt19937 random(7);
    CheckSweeps(&test, number % 2 == 0 ? Delivery::kArrival : Delivery::kAscending, 1, 1, &random);
    CHECK(test.io.faults->errors() == 1);
  }
}

TEST_CASE("a lasting read error ends the demand by name; after cancel the pool serves what it can") {
  const ScratchFiles files({FileBytes()});
  for (uint64_t number = 1; number <= 72; number += 5) {
    for (const Delivery delivery : {Delivery::kArrival, Delivery::kAscending}) {
      FaultScript script;
      script.fail_read = number;
      script.persistent = true;
      script.hold_back = number % 4;
      PoolTest test = MakePool(files, 4, script);
      REQUIRE(test.pool->Demand(1, AllExperts(), delivery).ok());
      const absl::Status status = Drain(&test, 1, 0).status();
      REQUIRE_FALSE(status.ok());
      CHECK(test.pool->NextReady().status() == status);
      const std::string message(status.message());
      CAPTURE(message);
      CHECK(message.find("layer 4 expert ") == 0);
      CHECK(message.find(": read of " + files.paths()[0] + " at offset ") != std::string::npos);
      CHECK(message.find(" failed: Input/output error (4 tries)") != std::string::npos);
      test.pool->Cancel();
      test.pool->Cancel();
      // Another layer, and then the same one again: either whole or refused.
      REQUIRE(test.pool->Demand(0, AllExperts(), delivery).ok());
      const auto other = Drain(&test, 0, 0);
      if (!other.ok()) test.pool->Cancel();  // the bad block may reach into a neighbour
      REQUIRE(test.pool->Demand(1, AllExperts(), delivery).ok());
      // A neighbour that shares the bad block may be the first to fail now.
      const absl::Status again = Drain(&test, 1, 0).status();
      CHECK(absl::IsDataLoss(again));
      CHECK(again.message().find("layer 4 expert ") == 0);
    }
  }
}

TEST_CASE("a demand may be cancelled at any point, leases in hand") {
  const ScratchFiles files({FileBytes()});
  FaultScript script;
  script.hold_back = 3;
  PoolTest test = MakePool(files, 4, script);
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    const Delivery delivery = round % 2 == 0 ? Delivery::kArrival : Delivery::kAscending;
    REQUIRE(test.pool->Demand(round % kLayers, AllExperts(), delivery).ok());
    Lease last;
    for (int taken = 0; taken < round % 9; ++taken) {
      last.Release();
      last = std::move(**test.pool->NextReady());
    }
    test.pool->Cancel();
    if (round % 9 > 0) CHECK(HoldsExpert(test, round % kLayers, last));
    last.Release();
  }
  CheckSweeps(&test, Delivery::kAscending, 1, 2, &random);
  // Destroyed in the middle of a demand.
  REQUIRE(test.pool->Demand(0, AllExperts(), Delivery::kArrival).ok());
}

TEST_CASE("a pool with a slot for every record keeps what its consumer rearranged") {
  const ScratchFiles files({FileBytes()});
  PoolTest test = MakePool(files, 2 * kExperts, {});  // two layers share a class
  REQUIRE(test.pool->keeps_all());
  for (int round = 0; round < 2; ++round) {
    for (int layer = 0; layer < kLayers; ++layer) {
      REQUIRE(test.pool->Demand(layer, AllExperts(), Delivery::kArrival).ok());
      for (int i = 0; i < kExperts; ++i) {
        const Lease lease = std::move(**test.pool->NextReady());
        CHECK(lease.rearranged() == (round > 0));
        CHECK(HoldsExpert(test, layer, lease) == (round == 0));
        if (round == 0) std::reverse(lease.mutable_slice(1), lease.mutable_slice(1) + 2048);
        lease.set_rearranged();
      }
      CHECK_FALSE(test.pool->NextReady()->has_value());
    }
  }
  CHECK(test.pool->counters().evictions == 0);
  CHECK_FALSE(MakePool(files, 2 * kExperts - 1, {}).pool->keeps_all());
}

TEST_CASE("with mapped files every expert is resident and no slot is made") {
  const ScratchFiles files({FileBytes()});
  uint64_t file_bytes = 0;
  PoolTest test;
  test.io.loader =
      RecordLoader::Start(OpenOrDie(IoBackend::kMmap, files.paths(), 8), files.paths(), files.sizes(), PoolIo());
  test.records = MakeRecords(&file_bytes);
  auto pool = ExpertPool::Create({kLayers, kExperts, test.records, {}}, test.io.loader.get(),
                                 MakeExpectedDistancePolicy(kLayers, kExperts));
  REQUIRE(pool.ok());
  test.pool = *std::move(pool);
  std::mt19937 random(3);
  CheckSweeps(&test, Delivery::kAscending, 3, 2, &random);
  CheckSweeps(&test, Delivery::kArrival, 3, 2, &random);
  CHECK(test.pool->counters().hits == test.pool->counters().lookups);
  CHECK(test.io.loader->counters().reads == 0);
}

TEST_CASE("size classes are the distinct shapes, each for its worst alignment, and fit every record") {
  uint64_t file_bytes = 0;
  const std::vector<Record> records = MakeRecords(&file_bytes);
  for (const uint32_t alignment : {512u, 4096u}) {
    const auto classes = ExpertPool::ClassesOf(records, alignment);
    REQUIRE(classes.size() == 2);
    CHECK(classes[0].slot_bytes < classes[1].slot_bytes);
    for (const Record& record : records) {
      const int index = ExpertPool::ClassFor(classes, SlotBytes(record, alignment));
      CHECK((index == 0 || index == 1));
    }
    CHECK(ExpertPool::ClassFor(classes, classes[1].slot_bytes + 1) == -1);
  }
}

TEST_CASE("a class without slots for its experts is refused by layer and expert") {
  const ScratchFiles files({FileBytes()});
  uint64_t file_bytes = 0;
  TestLoader io = StartFaultyLoader(files, {}, PoolIo());
  ExpertPool::Options options{kLayers, kExperts, MakeRecords(&file_bytes), {}};
  options.classes = ExpertPool::ClassesOf(options.records, io.loader->alignment_bytes());
  options.classes[0].slots = 4;
  const auto pool =
      ExpertPool::Create(std::move(options), io.loader.get(), MakeExpectedDistancePolicy(kLayers, kExperts));
  CHECK(absl::IsInvalidArgument(pool.status()));
  CHECK(pool.status().message().find("layer 4 expert 0 needs a slot of ") == 0);
}

TEST_CASE("the regions for registration are the slots, and every backend reads into them") {
  const ScratchFiles files({FileBytes()});
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    PoolTest test = MakePool(files, 2, {}, backend);
    CHECK(test.pool->memory_regions().size() >= 2);
    for (const absl::Span<uint8_t> region : test.pool->memory_regions()) CHECK(!region.empty());
    test.io.loader->RegisterMemory(test.pool->memory_regions());
    std::mt19937 random(3);
    CheckSweeps(&test, Delivery::kArrival, 0, 5, &random);
    CheckSweeps(&test, Delivery::kAscending, 0, 5, &random);
    test.io.loader->RegisterMemory({});
  }
}

}  // namespace
}  // namespace sluice
