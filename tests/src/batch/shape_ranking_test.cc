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

constexpr KeptSpill kKept{8, 40};

std::vector<SequenceShape> Resumed(const std::vector<DocumentNeed>& documents, int most,
                                   const KeptSpill& kept = kKept) {
  return RankShapes(Sparse(), documents, most, SpillUse::kWhereItPays, kept);
}

bool IsKept(const SequenceShape& shape) { return shape.spilled && shape.kv_blocks == kKept.blocks; }

TEST_CASE("a spill with keys of documents that go on is gone on with, whatever is left of the job") {
  // Those that are left may be the long ones: they wait for blocks as they did.
  for (const int64_t blocks : {3, 4, 7, 40}) {
    const std::vector<SequenceShape> shapes = Resumed(Alike(16, blocks, 1), 8);
    CHECK(shapes.size() == 9);
    CHECK(IsKept(shapes[0]));
    CHECK(shapes[0].sequences == 8);
    CHECK(shapes[0].held_bytes == 8);
  }
  // Few are left, or allowed.
  const std::vector<SequenceShape> few = Resumed(Alike(3, 4, 1), 3);
  CHECK(IsKept(few[0]));
  CHECK(few[0].sequences == 3);
  // Or a few more.
  const std::vector<SequenceShape> more = Resumed(Alike(15, 4, 1), 15);
  CHECK(IsKept(more[0]));
  CHECK(more[0].sequences == 8);
}

TEST_CASE("a spill that would hold the job back is given up") {
  CHECK(Resumed(Alike(16, 4, 1), 8, {}).size() == 8);
  // The largest document has no room in it.
  CHECK(Resumed(Alike(16, 41, 1), 8).size() == 8);
  // For twice as many documents it is worth computing some again, if there is memory for them.
  const std::vector<SequenceShape> twice = Resumed(Alike(16, 4, 1), 16);
  REQUIRE(twice.size() == 11);
  CHECK(twice[0].sequences == 16);
  CHECK(twice[1].sequences == 16);
  CHECK(IsKept(twice[2]));
  CHECK(RankShapes(Sparse(), Alike(16, 4, 1), 8, SpillUse::kNever, kKept).size() == 4);
}

}  // namespace
}  // namespace sluice
