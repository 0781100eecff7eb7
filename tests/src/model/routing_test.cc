#include "src/model/routing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/aligned_buffer.h"
#include "tests/src/model/tiny_model.h"

namespace sluice {
namespace {

struct RoutingTest {
  RoutingTest(int experts, int top_k, int64_t max_rows) {
    config.experts = experts;
    config.top_k = top_k;
    Arena counting;
    Routing(&counting, config, max_rows);
    memory = *AlignedBuffer::Create(counting.used_bytes());
    Arena arena(memory.data(), memory.size_bytes());
    routing = std::make_unique<Routing>(&arena, config, max_rows);
    CHECK(arena.used_bytes() == counting.used_bytes());
  }

  // Random ascending choices for `rows` rows out of the first `experts` experts.
  void Fill(int64_t rows, int experts, TestNumbers* numbers) {
    for (int64_t row = 0; row < rows; ++row) {
      std::set<int> ids;
      while (static_cast<int>(ids.size()) < config.top_k) ids.insert(static_cast<int>(numbers->Below(experts)));
      auto choice = routing->choices(row).begin();
      for (int id : ids) *choice++ = {id, numbers->Next()};
    }
    routing->Index(rows);
  }

  RoutingConfig config;
  AlignedBuffer memory;
  std::unique_ptr<Routing> routing;
};

void CheckIndex(const Routing& routing, int64_t rows, int top_k, int experts) {
  int64_t routed = 0;
  for (int expert = 0; expert < experts; ++expert) {
    const absl::Span<const RoutedRow> of = routing.rows_of(expert);
    routed += static_cast<int64_t>(of.size());
    const bool in_union = std::binary_search(routing.experts().begin(), routing.experts().end(), expert);
    REQUIRE(in_union == !of.empty());
    for (size_t i = 0; i < of.size(); ++i) {
      REQUIRE((i == 0 || of[i - 1].row < of[i].row));
      REQUIRE(of[i].row < rows);
      const ExpertChoice& choice = routing.choices(of[i].row)[of[i].choice];
      REQUIRE(choice.expert == expert);
      REQUIRE(choice.weight == of[i].weight);
    }
  }
  REQUIRE(routed == rows * top_k);
  REQUIRE(std::is_sorted(routing.experts().begin(), routing.experts().end()));
}

TEST_CASE("each choice of each row stands once under its expert, rows ascending") {
  TestNumbers numbers(1);
  RoutingTest test(20, 4, 64);
  for (int64_t rows : {64, 1, 2, 33, 64}) {
    // Fewer experts than there are: the union must shrink again.
    for (int experts : {20, 4, 11}) {
      test.Fill(rows, experts, &numbers);
      CheckIndex(*test.routing, rows, 4, 20);
      CHECK(static_cast<int>(test.routing->experts().size()) <= experts);
    }
  }
}

TEST_CASE("one row's union is its choices") {
  RoutingTest test(9, 3, 1);
  const absl::Span<ExpertChoice> choices = test.routing->choices(0);
  choices[0] = {0, 0.5f};
  choices[1] = {4, 0.25f};
  choices[2] = {8, 0.125f};
  test.routing->Index(1);
  CHECK(std::vector<int>(test.routing->experts().begin(), test.routing->experts().end()) == std::vector<int>{0, 4, 8});
  CHECK(test.routing->rows_of(4)[0].weight == 0.25f);
  CHECK(test.routing->rows_of(4)[0].choice == 1);
  CHECK(test.routing->rows_of(5).empty());
}

}  // namespace
}  // namespace sluice
