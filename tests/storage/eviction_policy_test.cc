#include "storage/eviction_policy.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

TEST_CASE("what was never used leaves before what is used at every turn, wherever its layer stands") {
  auto policy = MakeExpectedDistancePolicy(4, 8);
  for (int sweep = 0; sweep < 50; ++sweep) {
    for (int layer = 0; layer < 4; ++layer) policy->Observe(layer, {1, 2});
  }
  for (int layer = 0; layer < 4; ++layer) {
    for (int now = 0; now < 4; ++now) CHECK(policy->Score(layer, 5, now) > policy->Score((layer + 1) % 4, 1, now));
  }
}

TEST_CASE("among equals the layer that comes round last leaves first, the present layer's own included") {
  auto policy = MakeExpectedDistancePolicy(4, 8);
  for (int layer = 0; layer < 4; ++layer) policy->Observe(layer, {3});
  CHECK(policy->Score(2, 3, 2) > policy->Score(1, 3, 2));
  CHECK(policy->Score(1, 3, 2) > policy->Score(0, 3, 2));
  CHECK(policy->Score(0, 3, 2) > policy->Score(3, 3, 2));
}

TEST_CASE("a lasting favourite outlives a newcomer of the same layer once both were quiet for a while") {
  auto policy = MakeExpectedDistancePolicy(2, 8);
  for (int sweep = 0; sweep < 40; ++sweep) policy->Observe(0, {1});
  policy->Observe(0, {2});
  CHECK(policy->Score(0, 2, 1) > policy->Score(0, 1, 1));
  for (int sweep = 0; sweep < 5; ++sweep) policy->Observe(0, {3});
  CHECK(policy->Score(0, 2, 1) > policy->Score(0, 1, 1));
}

TEST_CASE("what was used once in a short past is no favourite over what is used now and then for long") {
  auto policy = MakeExpectedDistancePolicy(2, 64);
  for (int turn = 0; turn < 60; ++turn) policy->Observe(0, {turn % 6});
  policy->Observe(1, {7});
  for (int turn = 0; turn < 6; ++turn) policy->Observe(1, {20 + turn});
  for (int expert = 0; expert < 6; ++expert) CHECK(policy->Score(1, 7, 0) > policy->Score(0, expert, 0));
}

TEST_CASE("when a phrase comes again what its next word needs is kept, rare as it is") {
  auto policy = MakeExpectedDistancePolicy(1, 64);
  for (int repeat = 0; repeat < 4; ++repeat) {
    for (int word = 0; word < 30; ++word) policy->Observe(0, {word, 63 - word % 2});
  }
  for (int word = 0; word < 10; ++word) policy->Observe(0, {word, 63 - word % 2});
  CHECK(policy->Score(0, 10, 0) < policy->Score(0, 9, 0));  // the next against the last
  CHECK(policy->Score(0, 10, 0) < policy->Score(0, 20, 0));
}

}  // namespace
}  // namespace sluice
