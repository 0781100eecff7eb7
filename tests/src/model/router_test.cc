#include "src/model/router.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "tests/src/model/tiny_model.h"

namespace sluice {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<ExpertChoice> Choose(const RoutingConfig& config, const std::vector<float>& logits,
                                 const std::vector<float>& bias = {}) {
  const Router router(config);
  std::vector<float> scratch(router.scratch_floats());
  std::vector<ExpertChoice> choices(config.top_k);
  router.Choose(logits.data(), bias.empty() ? nullptr : bias.data(), scratch.data(), absl::MakeSpan(choices));
  return choices;
}

std::vector<int> Ids(const std::vector<ExpertChoice>& choices) {
  std::vector<int> ids;
  for (const ExpertChoice& choice : choices) ids.push_back(choice.expert);
  return ids;
}

std::vector<double> SlowScores(const RoutingConfig& config, const std::vector<float>& logits) {
  std::vector<double> scores;
  double sum = 0.0;
  for (float logit : logits) {
    scores.push_back(config.gating == Gating::kSigmoid ? 1.0 / (1.0 + std::exp(-double{logit}))
                                                       : std::exp(double{logit}));
    sum += scores.back();
  }
  if (config.gating == Gating::kSoftmax) {
    for (double& score : scores) score /= sum;
  }
  return scores;
}

// Ids from the best; equal values from the lower id.
std::vector<int> Ranked(const std::vector<double>& values) {
  std::vector<int> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return values[a] > values[b]; });
  return order;
}

// False when a choice hangs on less than float arithmetic can tell.
bool IsClear(const std::vector<double>& values, size_t kept) {
  const std::vector<int> order = Ranked(values);
  if (kept >= order.size()) return true;
  const double gap = values[order[kept - 1]] - values[order[kept]];
  return gap == 0.0 || gap > 1e-5;
}

struct SlowChoice {
  std::vector<int> ids;  // ascending
  std::vector<double> weights;
  bool clear = true;
};

void DropGroups(const RoutingConfig& config, std::vector<double>* selection, bool* clear) {
  const size_t size = config.experts / config.groups;
  std::vector<double> scores;
  for (int g = 0; g < config.groups; ++g) {
    std::vector<double> members(selection->begin() + g * size, selection->begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    scores.push_back(config.gating == Gating::kSigmoid && size > 1 ? members[0] + members[1] : members[0]);
  }
  *clear = IsClear(scores, config.groups_used);
  const std::vector<int> order = Ranked(scores);
  for (size_t i = config.groups_used; i < order.size(); ++i) {
    std::fill_n(selection->begin() + order[i] * size, size, -std::numeric_limits<double>::infinity());
  }
}

SlowChoice SlowlyChoose(const RoutingConfig& config, const std::vector<float>& logits, const std::vector<float>& bias) {
  SlowChoice result;
  const std::vector<double> scores = SlowScores(config, logits);
  std::vector<double> selection = scores;
  for (size_t e = 0; e < bias.size(); ++e) selection[e] += bias[e];
  if (config.groups > 1) DropGroups(config, &selection, &result.clear);
  result.clear = result.clear && IsClear(selection, config.top_k);
  result.ids = Ranked(selection);
  result.ids.resize(config.top_k);
  std::sort(result.ids.begin(), result.ids.end());
  double sum = 0.0;
  for (int id : result.ids) sum += scores[id];
  for (int id : result.ids) result.weights.push_back(scores[id] / (config.normalize ? sum : 1.0) * config.scale);
  return result;
}

RoutingConfig Config(int experts, int top_k, Gating gating) {
  RoutingConfig config;
  config.experts = experts;
  config.top_k = top_k;
  config.gating = gating;
  return config;
}

// Returns how many of `rows` random rows were clear enough to compare.
int CompareRows(const RoutingConfig& config, bool with_bias, int rows) {
  TestNumbers numbers(config.experts * 131 + config.groups);
  int compared = 0;
  for (int row = 0; row < rows; ++row) {
    std::vector<float> logits = numbers.Many(config.experts, 3.0f);
    const std::vector<float> bias = with_bias ? numbers.Many(config.experts, 1.0f) : std::vector<float>();
    // Exact ties of whole rows of experts.
    if (row % 3 == 0) std::fill(logits.begin() + config.experts / 2, logits.end(), logits[0]);
    const SlowChoice expected = SlowlyChoose(config, logits, bias);
    if (!expected.clear) continue;
    ++compared;
    const std::vector<ExpertChoice> choices = Choose(config, logits, bias);
    REQUIRE(Ids(choices) == expected.ids);
    for (size_t k = 0; k < choices.size(); ++k) {
      REQUIRE(choices[k].weight == doctest::Approx(expected.weights[k]).epsilon(1e-5));
    }
  }
  return compared;
}

TEST_CASE("choices and weights are those of the slow and obvious way") {
  for (const Gating gating : {Gating::kSoftmax, Gating::kSigmoid}) {
    for (const bool normalize : {false, true}) {
      for (const bool with_bias : {false, true}) {
        RoutingConfig config = Config(48, 6, gating);
        config.normalize = normalize;
        config.scale = normalize ? 2.5f : 1.0f;
        CHECK(CompareRows(config, with_bias, 200) > 150);
        config.groups = 8;
        config.groups_used = 3;
        CHECK(CompareRows(config, with_bias, 200) > 150);
        config.groups = 48;  // of one expert each
        config.groups_used = 6;
        CHECK(CompareRows(config, with_bias, 200) > 150);
      }
    }
  }
}

TEST_CASE("one expert, and all of them, can be chosen") {
  for (const Gating gating : {Gating::kSoftmax, Gating::kSigmoid}) {
    CHECK(CompareRows(Config(1, 1, gating), false, 10) == 10);
    CHECK(CompareRows(Config(7, 7, gating), true, 10) == 10);
  }
}

TEST_CASE("equal scores go to the lower id, of experts and of groups") {
  const std::vector<float> equal(12, 0.25f);
  RoutingConfig config = Config(12, 4, Gating::kSigmoid);
  CHECK(Ids(Choose(config, equal)) == std::vector<int>{0, 1, 2, 3});
  config.groups = 3;
  config.groups_used = 1;
  CHECK(Ids(Choose(config, equal)) == std::vector<int>{0, 1, 2, 3});
  // One better expert in the last group: the other place goes to the first group.
  std::vector<float> logits = equal;
  logits[11] = 1.0f;
  config.groups_used = 2;
  config.top_k = 6;
  CHECK(Ids(Choose(config, logits)) == std::vector<int>{0, 1, 2, 3, 8, 11});
}

TEST_CASE("the bias moves the choice and not the weight") {
  RoutingConfig config = Config(4, 2, Gating::kSigmoid);
  const std::vector<ExpertChoice> choices = Choose(config, {2.0f, 1.0f, 0.0f, -1.0f}, {0.0f, -1.0f, 0.0f, 1.0f});
  CHECK(Ids(choices) == std::vector<int>{0, 3});
  CHECK(choices[0].weight == doctest::Approx(1.0 / (1.0 + std::exp(-2.0))));
  CHECK(choices[1].weight == doctest::Approx(1.0 / (1.0 + std::exp(1.0))));
}

TEST_CASE("negative selection scores compete: a dropped group is below them all") {
  RoutingConfig config = Config(8, 4, Gating::kSigmoid);
  config.groups = 2;
  config.groups_used = 1;
  const std::vector<float> bias = {-9, -9, -9, -9, -5, -5, -5, -5};
  CHECK(Ids(Choose(config, std::vector<float>(8, 0.0f), bias)) == std::vector<int>{4, 5, 6, 7});
}

TEST_CASE("weights of vanished scores are zero and not nan") {
  RoutingConfig config = Config(4, 2, Gating::kSigmoid);
  config.normalize = true;
  for (const ExpertChoice& choice : Choose(config, std::vector<float>(4, -1000.0f))) CHECK(choice.weight == 0.0f);
}

TEST_CASE("nan and infinite logits still give distinct valid ids in order") {
  TestNumbers numbers(3);
  for (int trial = 0; trial < 2000; ++trial) {
    RoutingConfig config = Config(12, 5, trial % 2 == 0 ? Gating::kSoftmax : Gating::kSigmoid);
    config.groups = trial % 3 == 0 ? 4 : 1;
    config.groups_used = trial % 3 == 0 ? 2 : 1;
    config.normalize = trial % 5 == 0;
    std::vector<float> logits = numbers.Many(12), bias = numbers.Many(12);
    const float broken[] = {kNan, kInfinity, -kInfinity};
    for (float& value : logits) value = numbers.Below(2) == 0 ? broken[numbers.Below(3)] : value;
    for (float& value : bias) value = numbers.Below(8) == 0 ? broken[numbers.Below(3)] : value;
    const std::vector<int> ids = Ids(Choose(config, logits, bias));
    REQUIRE(std::set<int>(ids.begin(), ids.end()).size() == ids.size());
    REQUIRE(std::is_sorted(ids.begin(), ids.end()));
    REQUIRE((ids.front() >= 0 && ids.back() < 12));
  }
  const std::vector<float> all_nan(12, kNan);
  CHECK(Ids(Choose(Config(12, 3, Gating::kSoftmax), all_nan)) == std::vector<int>{0, 1, 2});
  CHECK(std::isnan(Choose(Config(12, 3, Gating::kSoftmax), all_nan)[0].weight));
}

TEST_CASE("a single nan logit is not chosen while numbers are left under sigmoid") {
  std::vector<float> logits = {kNan, 0.5f, 0.1f, 0.9f};
  CHECK(Ids(Choose(Config(4, 2, Gating::kSigmoid), logits)) == std::vector<int>{1, 3});
}

}  // namespace
}  // namespace sluice
