// A pool of small experts over a scratch file, and a consumer that checks every byte.
#ifndef SLUICE_TESTS_STORAGE_TEST_POOL_H_
#define SLUICE_TESTS_STORAGE_TEST_POOL_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "storage/expert_pool.h"
#include "tests/storage/test_loader.h"

namespace sluice {

inline constexpr int kLayers = 3;
inline constexpr int kExperts = 24;
inline constexpr int kFirstBlock = 3;  // of the model's layer numbers

// Three slices per expert at offsets that are multiples of 32. Layer 1 has
// larger experts, so there are two size classes.
inline std::vector<Record> MakeRecords(uint64_t* file_bytes) {
  std::vector<Record> records;
  uint64_t offset = 96;
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int expert = 0; expert < kExperts; ++expert) {
      Record record;
      record.layer = layer + kFirstBlock;
      record.expert = expert;
      for (int i = 0; i < 3; ++i) {
        const uint64_t bytes = (layer == 1 ? 5120 : 2048) + 64 * static_cast<uint64_t>(i);
        record.slices.push_back({0, offset, bytes});
        offset += bytes + 32 * static_cast<uint64_t>(expert % 3);
      }
      records.push_back(std::move(record));
    }
  }
  *file_bytes = records.back().slices.back().offset + records.back().slices.back().bytes;
  return records;
}

inline uint64_t FileBytes() {
  uint64_t bytes = 0;
  MakeRecords(&bytes);
  return bytes;
}

struct PoolTest {
  TestLoader io;
  std::vector<Record> records;
  std::unique_ptr<ExpertPool> pool;  // destroyed before the loader
};

inline RecordLoader::Options PoolIo() {
  RecordLoader::Options options;
  options.chunk_bytes = 4096;
  options.depth = 8;
  return options;
}

// `slots` of each size class.
inline PoolTest MakePool(const ScratchFiles& files, int slots, const FaultScript& script,
                         IoBackend backend = IoBackend::kPread) {
  PoolTest test;
  test.io = StartFaultyLoader(files, script, PoolIo(), backend);
  ExpertPool::Options options;
  options.layers = kLayers;
  options.experts = kExperts;
  uint64_t file_bytes = 0;
  options.records = test.records = MakeRecords(&file_bytes);
  options.classes = ExpertPool::ClassesOf(options.records, test.io.loader->alignment_bytes());
  REQUIRE(options.classes.size() >= 2);
  for (ExpertPool::SizeClass& size_class : options.classes) size_class.slots = slots;
  auto pool =
      ExpertPool::Create(std::move(options), test.io.loader.get(), MakeExpectedDistancePolicy(kLayers, kExperts));
  REQUIRE_MESSAGE(pool.ok(), pool.status().ToString());
  test.pool = *std::move(pool);
  return test;
}

inline bool HoldsExpert(const PoolTest& test, int layer, const Lease& lease) {
  const Record& record = test.records[layer * kExperts + lease.expert()];
  for (size_t i = 0; i < record.slices.size(); ++i) {
    const Slice& slice = record.slices[i];
    if (MatchingBytes(lease.slice(i), 0, slice.offset, slice.bytes) != slice.bytes) return false;
  }
  return true;
}

// Takes the whole demand, holding up to `held` leases besides the newest, and
// checks every byte when a lease is taken and again when it is given back.
// Returns the ids in the order of delivery.
inline absl::StatusOr<std::vector<int>> Drain(PoolTest* test, int layer, size_t held) {
  std::vector<int> order;
  std::deque<Lease> leases;
  for (;;) {
    absl::StatusOr<absl::optional<Lease>> next = test->pool->NextReady();
    if (!next.ok()) return next.status();
    if (!next->has_value()) break;
    CHECK(HoldsExpert(*test, layer, **next));
    order.push_back((*next)->expert());
    leases.push_back(std::move(**next));
    if (leases.size() <= held) continue;
    CHECK(HoldsExpert(*test, layer, leases.front()));
    leases.pop_front();
  }
  return order;
}

inline std::vector<int> RandomUnion(std::mt19937* random) {
  const size_t size = 1 + (*random)() % kExperts;
  std::set<int> ids;
  // Skewed, so that there are hits: low ids are taken more often.
  while (ids.size() < size) ids.insert(static_cast<int>(std::min((*random)() % kExperts, (*random)() % kExperts)));
  return {ids.begin(), ids.end()};
}

inline std::vector<int> AllExperts() {
  std::vector<int> all(kExperts);
  for (int i = 0; i < kExperts; ++i) all[i] = i;
  return all;
}

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_TEST_POOL_H_
