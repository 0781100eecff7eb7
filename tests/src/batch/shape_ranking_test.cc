#include "src/batch/shape_ranking.h"

#include <doctest/doctest.h>

#include <set>
#include <vector>

namespace sluice {
namespace {

// 64 experts of which a row takes 8.
ShapeFacts Sparse() {
  ShapeFacts facts;
  facts.experts = 64;
  facts.top_k = 8;
  facts.routed_bytes = 64'000;
  facts.trunk_bytes = 1000;
  facts.block_bytes = 10;
  return facts;
}

std::vector<DocumentNeed> Alike(int documents, int64_t blocks, uint64_t bytes) {
  return std::vector<DocumentNeed>(static_cast<size_t>(documents), DocumentNeed{blocks, bytes});
}

TEST_CASE("a sweep reads the trunk and the union of its rows' experts") {
  SequenceShape shape;
  CHECK(SweepBytes(Sparse(), shape) == doctest::Approx(1000 + 8000));
  shape.sequences = 2;
  CHECK(SweepBytes(Sparse(), shape) == doctest::Approx(1000 + 64'000 * (1 - 0.875 * 0.875)));
  shape.sequences = 10'000;
  CHECK(SweepBytes(Sparse(), shape) == doctest::Approx(65'000));
}

TEST_CASE("a spilled cache is read on top") {
  SequenceShape shape;
  shape.kv_blocks = 30;
  const double resident = SweepBytes(Sparse(), shape);
  shape.spilled = true;
  CHECK(SweepBytes(Sparse(), shape) == doctest::Approx(resident + 300));
}

TEST_CASE("a model without experts reads its trunk") {
  ShapeFacts dense;
  dense.trunk_bytes = 77;
  CHECK(SweepBytes(dense, SequenceShape()) == doctest::Approx(77));
}

TEST_CASE("the most documents come first where their cache costs nothing") {
  const std::vector<SequenceShape> shapes = RankShapes(Sparse(), Alike(16, 4, 100), 16, SpillUse::kNever);
  REQUIRE(shapes.size() == 5);
  int expected = 16;
  for (const SequenceShape& shape : shapes) {
    CHECK(shape.sequences == expected);
    CHECK(shape.kv_blocks == 4 * expected);
    CHECK(shape.held_bytes == 100u * static_cast<unsigned>(expected));
    CHECK_FALSE(shape.spilled);
    expected /= 2;
  }
}

TEST_CASE("a spill is for what does not fit: of each size the resident cache comes first") {
  const std::vector<SequenceShape> shapes = RankShapes(Sparse(), Alike(8, 4, 1), 8, SpillUse::kWhereItPays);
  REQUIRE(shapes.size() == 8);
  CHECK(shapes[0].sequences == 8);
  CHECK_FALSE(shapes[0].spilled);
  CHECK(shapes[1].sequences == 8);
  CHECK(shapes[1].spilled);
  for (size_t i = 0; i + 1 < shapes.size(); ++i) {
    CHECK(SweepBytes(Sparse(), shapes[i]) / shapes[i].sequences <=
          SweepBytes(Sparse(), shapes[i + 1]) / shapes[i + 1].sequences);
  }
}

TEST_CASE("where the cache is long a spill for many loses against memory for few") {
  ShapeFacts facts = Sparse();
  facts.block_bytes = 1000;
  const std::vector<SequenceShape> shapes = RankShapes(facts, Alike(8, 100, 1), 8, SpillUse::kWhereItPays);
  CHECK_FALSE(shapes[1].spilled);
  CHECK(shapes[1].sequences == 4);
}

TEST_CASE("a spill that is always wanted is in every shape, one that is never wanted in none") {
  for (const SequenceShape& shape : RankShapes(Sparse(), Alike(8, 4, 1), 8, SpillUse::kAlways)) CHECK(shape.spilled);
  for (const SequenceShape& shape : RankShapes(Sparse(), Alike(8, 4, 1), 8, SpillUse::kNever)) {
    CHECK_FALSE(shape.spilled);
  }
}

TEST_CASE("there are blocks for any neighbours and memory for any documents") {
  const std::vector<DocumentNeed> documents = {{9, 500}, {1, 10}, {1, 10}, {8, 400}, {3, 20}};
  const std::vector<SequenceShape> shapes = RankShapes(Sparse(), documents, 4, SpillUse::kNever);
  REQUIRE(shapes.size() == 3);
  CHECK(shapes[0].sequences == 4);
  CHECK(shapes[0].kv_blocks == 19);
  CHECK(shapes[0].held_bytes == 930);
  CHECK(shapes[1].kv_blocks == 11);
  CHECK(shapes[1].held_bytes == 900);
  CHECK(shapes[2].kv_blocks == 9);
  CHECK(shapes[2].held_bytes == 500);
}

TEST_CASE("no document at all still makes a shape") {
  const std::vector<SequenceShape> shapes = RankShapes(Sparse(), {}, 1, SpillUse::kNever);
  REQUIRE(shapes.size() == 1);
  CHECK(shapes[0].sequences == 1);
  CHECK(shapes[0].kv_blocks == 1);
  CHECK(shapes[0].held_bytes == 0);
}

}  // namespace
}  // namespace sluice
