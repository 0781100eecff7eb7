// Guesses of the next demand: reads made early that change no byte.
#include <doctest/doctest.h>

#include <random>
#include <thread>

#include "tests/storage/test_pool.h"

namespace sluice {
namespace {

// Half of what will be wanted and as many that perhaps will not.
std::vector<int> GuessesFor(const std::vector<int>& ids, std::mt19937* random) {
  std::vector<int> guesses;
  for (const int id : ids) {
    if ((*random)() % 2 == 0) guesses.push_back(id);
    const int other = static_cast<int>((*random)() % kExperts);
    if (std::find(guesses.begin(), guesses.end(), other) == guesses.end()) guesses.push_back(other);
  }
  return guesses;
}

// Waits until the guess under way, which reads `bytes`, has been told of.
void AwaitGuess(PoolTest* test, uint64_t bytes_before) {
  while (test->io.loader->counters().bytes_read == bytes_before) std::this_thread::yield();
  // Chunks of a record finish in one go or few; a demand queued behind them ends after them.
  const Record& other = test->records.back();
  AlignedBuffer slot = MakeSlot(other, test->io.loader->alignment_bytes());
  for (int i = 0; i < 8; ++i) REQUIRE(test->io.loader->LoadNow(other, slot.data()).ok());
}

TEST_CASE("with guesses right, wrong and late every union is delivered once and byte for byte") {
  const ScratchFiles files({FileBytes()});
  PoolCounters total;
  for (const int slots : {1, 2, 3, 9, 40}) {
    for (const Delivery delivery : {Delivery::kArrival, Delivery::kAscending}) {
      for (uint64_t seed = 1; seed <= 6; ++seed) {
        FaultScript script;
        script.seed = seed;
        script.hold_back = seed % 3;
        script.shorten_every = seed % 2 == 0 ? 5 : 0;
        PoolTest test = MakePool(files, slots, script);
        std::mt19937 random(static_cast<unsigned>(seed));
        std::vector<int> ids = RandomUnion(&random);
        for (int demand = 0; demand < 30; ++demand) {
          const int layer = demand % kLayers;
          REQUIRE(test.pool->Demand(layer, ids, delivery).ok());
          const std::vector<int> next = RandomUnion(&random);
          test.pool->Prefetch((layer + 1) % kLayers, GuessesFor(next, &random), 0.5);
          auto order = Drain(&test, layer, seed % 2 == 0 ? 0 : static_cast<size_t>(std::min(1, slots - 1)));
          REQUIRE_MESSAGE(order.ok(), order.status().ToString());
          if (delivery == Delivery::kArrival) std::sort(order->begin(), order->end());
          CHECK(*order == ids);
          ids = next;
        }
        const PoolCounters counters = test.pool->counters();
        CHECK(counters.hits <= counters.lookups);
        total.prefetches_used += counters.prefetches_used;
        total.prefetches_wasted += counters.prefetches_wasted;
        total.evictions += counters.evictions;
      }
    }
  }
  CHECK(total.prefetches_used > 100);
  CHECK(total.prefetches_wasted > 100);
  CHECK(total.evictions > 100);
}

TEST_CASE("a guess that came in time is a hit and its demand reads nothing") {
  const ScratchFiles files({FileBytes()});
  PoolTest test = MakePool(files, 8, {});
  const uint64_t before = test.io.loader->counters().bytes_read;
  test.pool->Prefetch(1, {5}, 1.0);
  AwaitGuess(&test, before);
  const uint64_t reads = test.io.faults->reads();
  REQUIRE(test.pool->Demand(1, {5}, Delivery::kArrival).ok());
  REQUIRE(Drain(&test, 1, 0).ok());
  CHECK(test.io.faults->reads() == reads);
  CHECK(test.pool->counters().hits == 1);
  CHECK(test.pool->counters().prefetches_used == 1);
  CHECK(test.pool->counters().prefetch_used_ns > 0);
}

TEST_CASE("a guess that nobody demands is wasted and may be evicted afterwards") {
  const ScratchFiles files({FileBytes()});
  PoolTest test = MakePool(files, 1, {});
  const uint64_t before = test.io.loader->counters().bytes_read;
  test.pool->Prefetch(0, {7}, 1.0);
  AwaitGuess(&test, before);
  REQUIRE(test.pool->Demand(0, {1, 2}, Delivery::kAscending).ok());
  CHECK(*Drain(&test, 0, 0) == std::vector<int>{1, 2});
  CHECK(test.pool->counters().prefetches_wasted == 1);
  CHECK(test.pool->counters().prefetches_used == 0);
}

TEST_CASE("a guess that cannot be read is no failure until it is demanded") {
  const ScratchFiles files({FileBytes()});
  FaultScript script;
  script.fail_read = 1;
  script.persistent = true;
  PoolTest test = MakePool(files, 4, script);
  test.pool->Prefetch(0, {12}, 1.0);
  while (test.io.faults->errors() == 0) std::this_thread::yield();
  REQUIRE(test.pool->Demand(0, {1, 2}, Delivery::kArrival).ok());
  REQUIRE(Drain(&test, 0, 0).ok());
  CHECK(test.pool->counters().prefetches_wasted == 1);
  REQUIRE(test.pool->Demand(0, {12}, Delivery::kArrival).ok());
  CHECK(absl::IsDataLoss(Drain(&test, 0, 0).status()));
}

// A pool whose slots for layers 0 and 2 all hold experts of layer 2, in the middle of
// the sweep's layer 1.
PoolTest PoolFullOfLayerTwo(const ScratchFiles& files, const std::vector<int>& experts) {
  PoolTest test = MakePool(files, static_cast<int>(experts.size()), {});
  for (int layer = 2; layer >= 1; --layer) {
    REQUIRE(test.pool->Demand(layer, experts, Delivery::kArrival).ok());
    REQUIRE(Drain(&test, layer, 0).ok());
  }
  REQUIRE(test.pool->counters().evictions == 0);
  return test;
}

TEST_CASE("no guess takes the place of another one that is resident, not even when all are guessed") {
  const ScratchFiles files({FileBytes()});
  PoolTest test = PoolFullOfLayerTwo(files, {5, 6});
  test.pool->Prefetch(2, AllExperts(), 1.0);
  CHECK(test.pool->counters().evictions == 0);
  REQUIRE(test.pool->Demand(2, {5, 6}, Delivery::kAscending).ok());
  REQUIRE(Drain(&test, 2, 0).ok());
  CHECK(test.pool->counters().hits == 2);
}

TEST_CASE("what a layer still ahead will want with better odds does not leave for a guess, with worse odds it does") {
  const ScratchFiles files({FileBytes()});
  for (const double odds : {0.1, 0.95}) {
    PoolTest test = PoolFullOfLayerTwo(files, {5, 6});
    const uint64_t before = test.io.loader->counters().bytes_read;
    test.pool->Prefetch(2, {5, 7}, odds);
    CHECK(test.pool->counters().evictions == (odds > 0.5 ? 1 : 0));
    if (odds > 0.5) AwaitGuess(&test, before);
    REQUIRE(test.pool->Demand(2, {5, odds > 0.5 ? 7 : 6}, Delivery::kArrival).ok());
    REQUIRE(Drain(&test, 2, 0).ok());
    CHECK(test.pool->counters().hits == 2);
  }
}

TEST_CASE("a pool with guesses on their way can be cancelled and destroyed") {
  const ScratchFiles files({FileBytes()});
  for (int trial = 0; trial < 50; ++trial) {
    PoolTest test = MakePool(files, 3, {});
    REQUIRE(test.pool->Demand(0, {1, 2}, Delivery::kArrival).ok());
    test.pool->Prefetch(1, {4, 5, 6}, 1.0);
    if (trial % 2 == 0) test.pool->Cancel();
  }
}

}  // namespace
}  // namespace sluice
