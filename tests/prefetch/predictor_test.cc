#include "prefetch/predictor.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

std::vector<int> Guess(const Predictor& predictor, int layer, int count) {
  std::vector<int> ids = {99};
  predictor.Predict(layer, count, &ids);
  return ids;
}

TEST_CASE("the previous predictor names what the layer chose last, and nothing before") {
  const auto predictor = MakePreviousPredictor(2);
  CHECK(Guess(*predictor, 0, 4).empty());
  predictor->Observe(0, {3, 5});
  predictor->Observe(0, {1, 5});
  CHECK(Guess(*predictor, 0, 4) == std::vector<int>{1, 5});
  CHECK(Guess(*predictor, 0, 1) == std::vector<int>{1});
  CHECK(Guess(*predictor, 1, 4).empty());
}

TEST_CASE("the popularity predictor names what was chosen most often, lower ids among equals") {
  const auto predictor = MakePopularityPredictor(2, 8);
  CHECK(Guess(*predictor, 0, 4).empty());
  for (int i = 0; i < 3; ++i) predictor->Observe(0, {2, 6});
  predictor->Observe(0, {4, 6});
  CHECK(Guess(*predictor, 0, 3) == std::vector<int>{6, 2, 4});
  CHECK(Guess(*predictor, 0, 2) == std::vector<int>{6, 2});
  CHECK(Guess(*predictor, 0, 100).size() == 3);
  CHECK(Guess(*predictor, 1, 3).empty());
}

}  // namespace
}  // namespace sluice
