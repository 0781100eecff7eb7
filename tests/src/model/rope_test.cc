#include "src/model/rope.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include "tests/src/model/tiny_model.h"

namespace sluice {
namespace {

constexpr double kPi = 3.14159265358979323846;

YarnConfig Yarn(double factor, double original) {
  YarnConfig yarn;
  yarn.enabled = true;
  yarn.factor = factor;
  yarn.original_context_length = original;
  return yarn;
}

// The published formula, term by term.
double SlowFrequency(int64_t pair, int64_t dims, double base, const YarnConfig& yarn) {
  const double d = static_cast<double>(dims);
  const double w = 1.0 / std::exp(2.0 * static_cast<double>(pair) / d * std::log(base));
  if (!yarn.enabled) return w;
  const auto corr = [&](double r) {
    return d * std::log(yarn.original_context_length / (2.0 * kPi * r)) / (2.0 * std::log(base));
  };
  const double low = std::max(0.0, std::floor(corr(yarn.beta_fast)));
  const double high = std::min(d - 1.0, std::ceil(corr(yarn.beta_slow)));
  const double ramp = std::min(1.0, std::max(0.0, (static_cast<double>(pair) - low) / std::max(0.001, high - low)));
  return w * (1.0 - ramp) + w / yarn.factor * ramp;
}

void CompareAngles(int64_t dims, double base, const YarnConfig& yarn) {
  const Rope rope(dims, base, yarn);
  REQUIRE(rope.dims() == dims);
  std::vector<float> angles(dims);
  for (int64_t position : {0, 1, 2, 17, 4095, 163839}) {
    rope.Angles(position, angles.data());
    for (int64_t pair = 0; pair < dims / 2; ++pair) {
      const double angle = static_cast<double>(position) * SlowFrequency(pair, dims, base, yarn);
      REQUIRE(angles[2 * pair] == doctest::Approx(std::cos(angle)).epsilon(1e-6));
      REQUIRE(angles[2 * pair + 1] == doctest::Approx(std::sin(angle)).epsilon(1e-6));
    }
  }
}

TEST_CASE("angles follow the formula, with and without yarn") {
  for (int64_t dims : {2, 32, 64, 128}) {
    CompareAngles(dims, 10000.0, {});
    CompareAngles(dims, 10000.0, Yarn(40.0, 4096));  // DeepSeek-V3
    CompareAngles(dims, 50000.0, Yarn(32.0, 4096));  // Kimi K2
    CompareAngles(dims, 150000.0, Yarn(32.0, 131072));
  }
}

TEST_CASE("yarn keeps fast pairs and divides slow ones by the factor") {
  const Rope plain(64, 10000.0, {}), scaled(64, 10000.0, Yarn(40.0, 4096));
  std::vector<float> before(64), after(64);
  plain.Angles(1, before.data());
  scaled.Angles(1, after.data());
  // corr(32) = 10.5 and corr(1) = 22.5: pairs to 10 are kept, from 23 on divided.
  for (int pair = 0; pair <= 10; ++pair) CHECK(after[2 * pair + 1] == before[2 * pair + 1]);
  CHECK(after[2 * 11 + 1] < before[2 * 11 + 1]);
  for (int pair = 23; pair < 32; ++pair) {
    CHECK(std::asin(double{after[2 * pair + 1]}) * 40.0 ==
          doctest::Approx(std::asin(double{before[2 * pair + 1]})).epsilon(1e-6));
  }
  CHECK(std::asin(double{after[2 * 22 + 1]}) * 40.0 > 1.5 * std::asin(double{before[2 * 22 + 1]}));
}

TEST_CASE("degenerate settings give numbers") {
  for (double base : {1.0, 1.0000001, 1e12}) {
    for (double original : {1.0, 1e9}) {
      YarnConfig yarn = Yarn(1e6, original);
      yarn.beta_fast = 1e-3;
      yarn.beta_slow = 1e6;
      std::vector<float> angles(8);
      Rope(8, base, yarn).Angles(int64_t{1} << 30, angles.data());
      for (float value : angles) CHECK(std::fabs(value) <= 1.0f);
    }
  }
}

TEST_CASE("neighbours turn as complex numbers and what lies behind stays") {
  const Rope rope(10, 10000.0, {});
  std::vector<float> angles(10);
  rope.Angles(5, angles.data());
  TestNumbers numbers(1);
  const std::vector<float> before = numbers.Many(14);
  std::vector<float> after = before;
  Rope::RotateNeighbours(angles.data(), 10, after.data());
  for (int pair = 0; pair < 5; ++pair) {
    const std::complex<double> turn = std::polar(1.0, 5.0 * SlowFrequency(pair, 10, 10000.0, {}));
    const std::complex<double> expected = turn * std::complex<double>(before[2 * pair], before[2 * pair + 1]);
    CHECK(after[2 * pair] == doctest::Approx(expected.real()).epsilon(1e-5));
    CHECK(after[2 * pair + 1] == doctest::Approx(expected.imag()).epsilon(1e-5));
  }
  for (int i = 10; i < 14; ++i) CHECK(after[i] == before[i]);
}

TEST_CASE("scores depend on the distance of positions alone") {
  const Rope rope(32, 10000.0, Yarn(40.0, 4096));
  TestNumbers numbers(2);
  const std::vector<float> query = numbers.Many(32), key = numbers.Many(32);
  const auto score = [&](int64_t query_position, int64_t key_position) {
    std::vector<float> angles(32), q = query, k = key;
    rope.Angles(query_position, angles.data());
    Rope::RotateNeighbours(angles.data(), 32, q.data());
    rope.Angles(key_position, angles.data());
    Rope::RotateNeighbours(angles.data(), 32, k.data());
    double sum = 0.0;
    for (int i = 0; i < 32; ++i) sum += double{q[i]} * k[i];
    return sum;
  };
  CHECK(score(100, 60) == doctest::Approx(score(1040, 1000)).epsilon(1e-4));
  CHECK(std::fabs(score(100, 60) - score(100, 61)) > 1e-3);
}

}  // namespace
}  // namespace sluice
