#include "src/text/sampler.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace sluice {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Sampler Make(const SamplerOptions& options) {
  auto sampler = Sampler::Create(options);
  REQUIRE(sampler.ok());
  return *std::move(sampler);
}

// How often each id comes out over many positions, as a share.
std::vector<double> Shares(const SamplerOptions& options, const std::vector<float>& logits, int draws = 40'000) {
  Sampler sampler = Make(options);
  std::vector<double> shares(logits.size(), 0);
  for (int i = 0; i < draws; ++i) shares[sampler.Sample(logits, static_cast<uint64_t>(i))] += 1.0 / draws;
  return shares;
}

// Logits whose softmax at temperature 1 is in the ratio of `weights`.
std::vector<float> LogitsOf(const std::vector<double>& weights) {
  std::vector<float> logits;
  for (double weight : weights) logits.push_back(static_cast<float>(std::log(weight)));
  return logits;
}

void CheckShares(const std::vector<double>& shares, const std::vector<double>& expected) {
  REQUIRE(shares.size() == expected.size());
  for (size_t i = 0; i < shares.size(); ++i) {
    CAPTURE(i);
    CHECK(std::fabs(shares[i] - expected[i]) <= (expected[i] == 0 ? 0 : 0.015));
  }
}

TEST_CASE("greedy takes the highest logit and the lowest id of equals") {
  Sampler greedy = Make({});
  CHECK(greedy.Sample({1.0f, 3.0f, 3.0f, -1.0f}, 0) == 1);
  CHECK(greedy.Sample({-2.0f}, 5) == 0);
  CHECK(greedy.Sample({kNan, -5.0f, kNan}, 0) == 1);
  CHECK(greedy.Sample({-kInfinity, -kInfinity}, 0) == 0);
  Sampler one = Make({.temperature = 1, .top_k = 1});
  CHECK(one.Sample({0.0f, 2.0f, 2.0f}, 9) == 1);
}

TEST_CASE("tokens come out as often as the softmax says") {
  const std::vector<float> logits = LogitsOf({4, 1, 3, 2});
  CheckShares(Shares({.temperature = 1}, logits), {0.4, 0.1, 0.3, 0.2});
  CheckShares(Shares({.temperature = 0.5}, logits), {16 / 30.0, 1 / 30.0, 9 / 30.0, 4 / 30.0});
}

TEST_CASE("top-k, top-p and min-p cut the tail and keep the ratios") {
  const std::vector<float> logits = LogitsOf({4, 1, 3, 2});
  CheckShares(Shares({.temperature = 1, .top_k = 2}, logits), {4 / 7.0, 0, 3 / 7.0, 0});
  CheckShares(Shares({.temperature = 1, .top_p = 0.65}, logits), {4 / 7.0, 0, 3 / 7.0, 0});
  CheckShares(Shares({.temperature = 1, .top_p = 0.75}, logits), {4 / 9.0, 0, 3 / 9.0, 2 / 9.0});
  CheckShares(Shares({.temperature = 1, .min_p = 0.45}, logits), {4 / 9.0, 0, 3 / 9.0, 2 / 9.0});
  // Of the three that top-k leaves, 4/9 and 7/9 are reached after one and two.
  CheckShares(Shares({.temperature = 1, .top_k = 3, .top_p = 0.7}, logits), {4 / 7.0, 0, 3 / 7.0, 0});
  CheckShares(Shares({.temperature = 1, .top_k = 3, .top_p = 0.9, .min_p = 0.6}, logits), {4 / 7.0, 0, 3 / 7.0, 0});
}

TEST_CASE("the best token always stays") {
  const std::vector<float> logits = LogitsOf({4, 1, 3, 2});
  CheckShares(Shares({.temperature = 1, .top_p = 0}, logits, 100), {1, 0, 0, 0});
  CheckShares(Shares({.temperature = 1, .min_p = 1}, logits, 100), {1, 0, 0, 0});
  CheckShares(Shares({.temperature = 1e-300}, logits, 100), {1, 0, 0, 0});
}

TEST_CASE("equal logits rank by lower id") {
  const std::vector<float> equal(8, 0.5f);
  CheckShares(Shares({.temperature = 1, .top_k = 2}, equal), {0.5, 0.5, 0, 0, 0, 0, 0, 0});
  CheckShares(Shares({.temperature = 1, .top_p = 0.2}, equal), {0.5, 0.5, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("logits that are not finite neither crash nor come out") {
  const std::vector<SamplerOptions> all = {
      {.temperature = 1}, {.temperature = 1, .top_k = 3}, {.temperature = 2, .top_p = 0.9}};
  for (const SamplerOptions& options : all) {
    CheckShares(Shares(options, {kNan, 0.0f, -kInfinity, 0.0f}), {0, 0.5, 0, 0.5});
    CheckShares(Shares(options, {0.0f, kInfinity, kNan, 1.0f}, 100), {0, 1, 0, 0});
    CHECK(Make(options).Sample({kNan, kNan}, 1) >= 0);
  }
}

TEST_CASE("the choice is a function of seed and position alone") {
  const std::vector<float> logits(1000, 0.0f);
  Sampler forward = Make({.temperature = 1, .top_p = 0.99, .seed = 42});
  Sampler backward = Make({.temperature = 1, .top_p = 0.99, .seed = 42});
  Sampler other = Make({.temperature = 1, .top_p = 0.99, .seed = 43});
  std::vector<int32_t> first(200);
  int differences = 0;
  for (uint64_t i = 0; i < 200; ++i) first[i] = forward.Sample(logits, i);
  for (uint64_t i = 200; i-- > 0;) {
    CHECK(backward.Sample(logits, i) == first[i]);
    differences += other.Sample(logits, i) != first[i] ? 1 : 0;
  }
  CHECK(differences > 150);
}

TEST_CASE("cuts deep in the tail and near the top agree") {
  // Steps of half a nat over 40 nats: top_k reaches below what is ranked at first.
  std::vector<float> logits(80);
  for (size_t i = 0; i < logits.size(); ++i) logits[(i * 37) % 80] = -0.5f * static_cast<float>(i);
  Sampler off = Make({.temperature = 1, .seed = 3});
  Sampler deep_k = Make({.temperature = 1, .top_k = 79, .seed = 3});
  Sampler near_k = Make({.temperature = 1, .top_k = 16, .seed = 3});
  Sampler deep_p = Make({.temperature = 1, .top_p = 1 - 1e-12, .seed = 3});
  Sampler deep_m = Make({.temperature = 1, .min_p = 1e-12, .seed = 3});
  int equal = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    const int32_t id = deep_k.Sample(logits, i);
    CHECK(deep_p.Sample(logits, i) == id);
    CHECK(deep_m.Sample(logits, i) == id);
    equal += near_k.Sample(logits, i) == id ? 1 : 0;
    CHECK(off.Sample(logits, i) >= 0);
  }
  CHECK(equal > 980);
}

TEST_CASE("random numbers fill [0, 1) evenly for neighbouring seeds and positions") {
  std::vector<int> buckets(16, 0);
  for (uint64_t seed = 0; seed < 64; ++seed) {
    for (uint64_t position = 0; position < 1000; ++position) {
      const double value = UniformAt(seed, position);
      REQUIRE((value >= 0 && value < 1));
      ++buckets[static_cast<size_t>(value * 16)];
    }
  }
  for (int count : buckets) CHECK(std::abs(count - 4000) < 300);
}

TEST_CASE("options out of range are refused with name, value and limit") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::pair<SamplerOptions, const char*> bad[] = {
      {{.temperature = -1}, "temperature -1"}, {{.temperature = nan}, "temperature nan"},
      {{.temperature = 101}, "0 to 100"},      {{.top_k = -3}, "top_k -3"},
      {{.top_p = 1.5}, "top_p 1.5"},           {{.top_p = nan}, "top_p nan"},
      {{.min_p = -0.1}, "min_p -0.1"},         {{.min_p = 2}, "0 to 1"},
  };
  for (const auto& [options, words] : bad) {
    const auto sampler = Sampler::Create(options);
    CHECK(sampler.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(sampler.status().message()).find(words) != std::string::npos);
  }
}

}  // namespace
}  // namespace sluice
