#include "src/model/kv_cache.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
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

TEST_CASE("sizes are what the types take, and too large a cache is refused") {
  CHECK(KvCache::RowBytes(KvType::kF32, 576) == 2304);
  CHECK(KvCache::RowBytes(KvType::kF16, 576) == 1152);
  CHECK(KvCache::RowBytes(KvType::kQ8_0, 576) == 576 + 36);
  CHECK(KvCache::RowBytes(KvType::kQ8_0, 33) == 33 + 4);
  CHECK(KvCache::TotalBytes({KvType::kF16, 61, 2, 1000, 576}) == uint64_t{1152} * 61 * 2 * 1000);
  const KvCache::Shape absurd{KvType::kF32, 4096, 65536, int64_t{1} << 30, 1 << 21};
  CHECK(KvCache::TotalBytes(absurd) == std::numeric_limits<uint64_t>::max());
  const auto cache = KvCache::Create(absurd, &BestKernelSet().ops);
  CHECK(absl::IsResourceExhausted(cache.status()));
}

}  // namespace
}  // namespace sluice
