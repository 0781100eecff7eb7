#include "src/synth/random_blocks.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "compute/dequantize.h"

namespace sluice {
namespace {

std::vector<TensorType> WeightTypes() {
  std::vector<TensorType> types;
  for (uint32_t number = 0; number < kTensorTypeLimit; ++number) {
    const TensorTypeInfo* info = FindTensorType(number);
    if (info != nullptr && info->is_weight) types.push_back(info->type);
  }
  return types;
}

std::vector<float> Weights(TensorType type, double rms, uint64_t seed) {
  const TensorTypeInfo& info = InfoOf(type);
  std::vector<uint8_t> blocks(65536 / info.block_elements * info.block_bytes);
  RandomBlocks(type, rms).Fill(seed, absl::MakeSpan(blocks));
  std::vector<float> weights(65536);
  DequantizeRow(type, blocks.data(), 65536, weights.data());
  return weights;
}

TEST_CASE("weights of every type have the size that was asked for, and a mean of nearly nothing") {
  for (const TensorType type : WeightTypes()) {
    CAPTURE(std::string(InfoOf(type).name));
    for (const double rms : {0.02, 0.0011, 1.0}) {
      double sum = 0, squares = 0;
      for (const float weight : Weights(type, rms, 3)) {
        REQUIRE(std::isfinite(weight));
        sum += weight;
        squares += static_cast<double>(weight) * weight;
      }
      CHECK(std::sqrt(squares / 65536) == doctest::Approx(rms).epsilon(0.05));
      CHECK(std::fabs(sum / 65536) < 0.15 * rms);  // signed codes reach one further down
    }
  }
}

TEST_CASE("the same seed gives the same bytes, another seed others") {
  for (const TensorType type : WeightTypes()) {
    CAPTURE(std::string(InfoOf(type).name));
    CHECK(Weights(type, 0.02, 5) == Weights(type, 0.02, 5));
    CHECK(Weights(type, 0.02, 5) != Weights(type, 0.02, 6));
  }
}

TEST_CASE("streams have seeds of their own") {
  CHECK(StreamSeed(1, "a", 0) == StreamSeed(1, "a", 0));
  CHECK(StreamSeed(1, "a", 0) != StreamSeed(2, "a", 0));
  CHECK(StreamSeed(1, "a", 0) != StreamSeed(1, "b", 0));
  CHECK(StreamSeed(1, "a", 0) != StreamSeed(1, "a", 1));
}

TEST_CASE("halves are the nearest ones, subnormal ones included") {
  CHECK(HalfBits(0) == 0);
  CHECK(HalfBits(1) == 0x3c00);
  CHECK(HalfBits(-2) == 0xc000);
  CHECK(HalfBits(0.333251953125) == 0x3555);
  CHECK(HalfBits(65504) == 0x7bff);
  CHECK(HalfBits(0x1p-14) == 0x0400);
  CHECK(HalfBits(0x1p-24) == 0x0001);
  CHECK(HalfBits(0x1.ff8p-15) == 0x03ff);
  CHECK(HalfBits(0x1.fffp-15) == 0x0400);  // rounds into the normal ones
  CHECK(HalfBits(1 - 0x1p-13) == 0x3c00);
}

TEST_CASE("normal numbers are normal enough") {
  RandomBits random(9);
  double sum = 0, squares = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = random.NextNormal();
    sum += x;
    squares += x * x;
  }
  CHECK(std::fabs(sum / 100000) < 0.02);
  CHECK(squares / 100000 == doctest::Approx(1).epsilon(0.02));
}

}  // namespace
}  // namespace sluice
