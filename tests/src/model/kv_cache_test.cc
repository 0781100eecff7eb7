#include "src/model/kv_cache.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "compute/ops.h"
#include "tests/src/model/tiny_model.h"

namespace sluice {
namespace {

constexpr KvType kTypes[] = {KvType::kF32, KvType::kF16, KvType::kQ8_0};

KvCache MakeCache(const KvCache::Shape& shape) {
  auto cache = KvCache::Create(shape, &BestKernelSet().ops);
  REQUIRE_MESSAGE(cache.ok(), cache.status().ToString());
  return *std::move(cache);
}

// Half a step of the block's scale, and what float16 adds to the scale.
float Q8Bound(const std::vector<float>& row, int64_t i) {
  const int64_t begin = i / 32 * 32, end = std::min<int64_t>(begin + 32, row.size());
  float largest = 0.0f;
  for (int64_t j = begin; j < end; ++j) largest = std::max(largest, std::fabs(row[j]));
  return largest / 127.0f * 0.51f + largest / 1024.0f;
}

float Bound(KvType type, const std::vector<float>& row, int64_t i) {
  switch (type) {
    case KvType::kF32:
      return 0.0f;
    case KvType::kF16:
      return std::fabs(row[i]) / 2048.0f;
    case KvType::kQ8_0:
      return Q8Bound(row, i);
  }
  return 0.0f;
}

TEST_CASE("rows come back rounded to their type, whatever the width") {
  TestNumbers numbers(1);
  for (KvType type : kTypes) {
    for (int64_t width : {1, 7, 31, 32, 33, 64, 100, 576}) {
      KvCache cache = MakeCache({type, 2, 2, 3, width});
      const std::vector<float> row = numbers.Many(width, 5.0f);
      cache.Write(1, 1, 2, row.data());
      std::vector<float> read(width);
      cache.Read(1, 1, 2, 1, read.data());
      bool rounded = false;
      for (int64_t i = 0; i < width; ++i) {
        REQUIRE(std::fabs(read[i] - row[i]) <= Bound(type, row, i));
        rounded = rounded || read[i] != row[i];
      }
      CHECK(rounded == (type != KvType::kF32));
      // Rounded values are their own rounding, except for the scale's own bits.
      cache.Write(0, 0, 0, read.data());
      std::vector<float> again(width);
      cache.Read(0, 0, 0, 1, again.data());
      if (type != KvType::kQ8_0) CHECK(again == read);
    }
  }
}

TEST_CASE("each layer, sequence and position has a place of its own") {
  constexpr int64_t kWidth = 33;
  for (KvType type : kTypes) {
    const KvCache::Shape shape{type, 3, 2, 5, kWidth};
    KvCache cache = MakeCache(shape);
    const auto value = [](int layer, int sequence, int64_t position) {
      return static_cast<float>(1 + layer * 10 + sequence * 5 + position);
    };
    for (int layer = 0; layer < 3; ++layer) {
      for (int sequence = 0; sequence < 2; ++sequence) {
        for (int64_t position = 0; position < 5; ++position) {
          const std::vector<float> row(kWidth, value(layer, sequence, position));
          cache.Write(layer, sequence, position, row.data());
        }
      }
    }
    std::vector<float> rows(5 * kWidth);
    for (int layer = 0; layer < 3; ++layer) {
      for (int sequence = 0; sequence < 2; ++sequence) {
        cache.Read(layer, sequence, 0, 5, rows.data());
        for (int64_t i = 0; i < 5 * kWidth; ++i) {
          REQUIRE(std::fabs(rows[i] - value(layer, sequence, i / kWidth)) < 0.05f);
        }
      }
    }
  }
}

TEST_CASE("several rows read at once are the rows read one by one") {
  TestNumbers numbers(2);
  for (KvType type : kTypes) {
    KvCache cache = MakeCache({type, 1, 1, 9, 45});
    for (int64_t position = 0; position < 9; ++position) cache.Write(0, 0, position, numbers.Many(45).data());
    std::vector<float> together(6 * 45), alone(45);
    cache.Read(0, 0, 2, 6, together.data());
    for (int64_t i = 0; i < 6; ++i) {
      cache.Read(0, 0, 2 + i, 1, alone.data());
      REQUIRE(std::memcmp(alone.data(), together.data() + i * 45, 45 * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("columns of rows in scattered blocks are those of the whole rows") {
  constexpr int64_t kWidth = 110, kPositions = 70;
  TestNumbers numbers(5);
  for (KvType type : kTypes) {
    KvCache cache = MakeCache({type, 1, 2, kPositions, kWidth, /*blocks=*/4});
    REQUIRE(cache.Reserve(1, 1));
    REQUIRE(cache.Reserve(0, kPositions));
    for (int64_t i = 0; i < kPositions; ++i) cache.Write(0, 0, i, numbers.Many(kWidth).data());
    std::vector<float> rows(kPositions * kWidth);
    cache.Read(0, 0, 0, kPositions, rows.data());
    for (const auto& [begin, count, first, columns] : {std::tuple<int64_t, int64_t, int64_t, int64_t>{0, 70, 0, 64},
                                                       {29, 41, 32, 33},
                                                       {31, 2, 64, 46},
                                                       {5, 1, 96, 14}}) {
      cache.FetchColumns(0, 0, begin, 2 * kPositions, first, columns);
      std::vector<float> part(static_cast<size_t>(count * columns));
      cache.ReadColumns(0, 0, begin, count, first, columns, part.data());
      for (int64_t i = 0; i < count; ++i) {
        const float* want = rows.data() + (begin + i) * kWidth + first;
        REQUIRE(std::memcmp(part.data() + i * columns, want, static_cast<size_t>(columns) * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("zeros and vanishing values read as zeros") {
  for (KvType type : {KvType::kF16, KvType::kQ8_0}) {
    KvCache cache = MakeCache({type, 1, 1, 1, 40});
    for (float value : {0.0f, -0.0f, 1e-30f, 1e-42f}) {
      cache.Write(0, 0, 0, std::vector<float>(40, value).data());
      std::vector<float> read(40, 1.0f);
      cache.Read(0, 0, 0, 1, read.data());
      for (float got : read) REQUIRE(got == 0.0f);
    }
  }
}

TEST_CASE("an overflow upstream is not hidden") {
  const float infinity = std::numeric_limits<float>::infinity();
  for (KvType type : kTypes) {
    for (float broken : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN(), 1e30f}) {
      KvCache cache = MakeCache({type, 1, 1, 1, 70});
      std::vector<float> row(70, 1.0f);
      row[36] = broken;
      cache.Write(0, 0, 0, row.data());
      std::vector<float> read(70);
      cache.Read(0, 0, 0, 1, read.data());
      CHECK((!std::isfinite(read[36]) || (type == KvType::kF32 && read[36] == broken)));
      // Other blocks are whole.
      for (int64_t i : {0, 31, 64, 69}) CHECK(read[i] == doctest::Approx(1.0f).epsilon(0.01));
    }
  }
}

std::vector<int32_t> Blocks(const KvCache& cache, int sequence) {
  return {cache.blocks(sequence).begin(), cache.blocks(sequence).end()};
}

TEST_CASE("without a number of blocks every sequence has its whole context from the start") {
  const KvCache cache = MakeCache({KvType::kF16, 2, 3, 70, 8});
  CHECK(cache.shape().blocks == 9);
  CHECK(cache.free_blocks() == 0);
  for (int sequence = 0; sequence < 3; ++sequence) CHECK(cache.capacity(sequence) == 70);
}

TEST_CASE("blocks are taken lowest first, given back and taken again") {
  KvCache cache = MakeCache({KvType::kF16, 2, 3, 100, 8, /*blocks=*/5});
  CHECK(cache.free_blocks() == 5);
  REQUIRE(cache.Reserve(0, 33));
  REQUIRE(cache.Reserve(1, 64));
  CHECK(Blocks(cache, 0) == std::vector<int32_t>{0, 1});
  CHECK(Blocks(cache, 1) == std::vector<int32_t>{2, 3});
  // Too few are left: nothing changes.
  CHECK_FALSE(cache.Reserve(2, 65));
  CHECK(cache.free_blocks() == 1);
  CHECK(Blocks(cache, 2).empty());
  cache.Release(0);
  CHECK(cache.free_blocks() == 3);
  REQUIRE(cache.Reserve(2, 65));
  CHECK(Blocks(cache, 2) == std::vector<int32_t>{0, 1, 4});
  CHECK(cache.free_blocks() == 0);
  CHECK_FALSE(cache.IsFree(4));
}

TEST_CASE("a shared block is free again when the last of its sequences lets go") {
  KvCache cache = MakeCache({KvType::kF16, 1, 3, 100, 8, /*blocks=*/6});
  REQUIRE(cache.Reserve(0, 70));
  REQUIRE(cache.Reserve(1, 90, cache.blocks(0).first(2)));
  CHECK(Blocks(cache, 1) == std::vector<int32_t>{0, 1, 3});
  CHECK(cache.free_blocks() == 2);
  // Shared blocks need no free ones, the rest does.
  CHECK_FALSE(cache.Reserve(2, 100, cache.blocks(1).first(1)));
  REQUIRE(cache.Reserve(2, 64, cache.blocks(1).first(1)));
  cache.Release(0);
  CHECK(cache.free_blocks() == 2);
  CHECK_FALSE(cache.IsFree(0));
  cache.Release(1);
  CHECK(cache.free_blocks() == 4);
  CHECK_FALSE(cache.IsFree(0));
  CHECK(cache.IsFree(1));
  cache.Release(2);
  CHECK(cache.free_blocks() == 6);
}

TEST_CASE("rows in scattered and shared blocks read as if they lay in a row") {
  constexpr int64_t kWidth = 40;
  for (KvType type : kTypes) {
    KvCache plain = MakeCache({type, 2, 1, 150, kWidth});
    KvCache paged = MakeCache({type, 2, 4, 150, kWidth, /*blocks=*/12});
    REQUIRE(paged.Reserve(1, 30));
    REQUIRE(paged.Reserve(2, 70));
    REQUIRE(paged.Reserve(3, 1));
    paged.Release(1);
    paged.Release(3);
    REQUIRE(paged.Reserve(0, 150));
    CHECK(Blocks(paged, 0) == std::vector<int32_t>{0, 4, 5, 6, 7});
    REQUIRE(paged.Reserve(1, 100, paged.blocks(0).first(3)));
    TestNumbers numbers(3);
    for (int64_t position = 0; position < 150; ++position) {
      const std::vector<float> row = numbers.Many(kWidth);
      plain.Write(1, 0, position, row.data());
      paged.Write(1, 0, position, row.data());
      if (position >= 96 && position < 100) paged.Write(1, 1, position, row.data());
    }
    std::vector<float> expected(150 * kWidth), got(150 * kWidth);
    for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{0, 64}, {64, 64}, {128, 22}, {31, 2}, {5, 145}}) {
      plain.Read(1, 0, begin, count, expected.data());
      paged.Read(1, 0, begin, count, got.data());
      CHECK(std::memcmp(got.data(), expected.data(), count * kWidth * sizeof(float)) == 0);
    }
    plain.Read(1, 0, 60, 40, expected.data());
    paged.Read(1, 1, 60, 40, got.data());
    CHECK(std::memcmp(got.data(), expected.data(), 40 * kWidth * sizeof(float)) == 0);
  }
}

TEST_CASE("what is planned for a cache is what is allocated") {
  for (KvType type : kTypes) {
    for (int64_t blocks : {0, 1, 40}) {
      const KvCache::Shape shape{type, 3, 7, 1000, 45, blocks};
      CHECK(MakeCache(shape).memory_bytes() == KvCache::TotalBytes(shape));
    }
  }
}

TEST_CASE("sizes are what the types take, and too large a cache is refused") {
  CHECK(KvCache::RowBytes(KvType::kF32, 576) == 2304);
  CHECK(KvCache::RowBytes(KvType::kF16, 576) == 1152);
  CHECK(KvCache::RowBytes(KvType::kQ8_0, 576) == 576 + 36);
  CHECK(KvCache::RowBytes(KvType::kQ8_0, 33) == 33 + 4);
  // Whole blocks, and a few bytes for each of them.
  const uint64_t rows = uint64_t{1152} * 61 * 2 * 1024;
  CHECK(KvCache::RowsBytes({KvType::kF16, 61, 2, 1000, 576}) == rows);
  CHECK(KvCache::TotalBytes({KvType::kF16, 61, 2, 1000, 576}) > rows);
  CHECK(KvCache::TotalBytes({KvType::kF16, 61, 2, 1000, 576}) <= rows + 2000);
  const KvCache::Shape absurd{KvType::kF32, 4096, 65536, int64_t{1} << 30, 1 << 21};
  CHECK(KvCache::TotalBytes(absurd) == std::numeric_limits<uint64_t>::max());
  const auto cache = KvCache::Create(absurd, &BestKernelSet().ops);
  CHECK(absl::IsResourceExhausted(cache.status()));
}

}  // namespace
}  // namespace sluice
