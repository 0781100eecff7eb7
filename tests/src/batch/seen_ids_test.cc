#include "src/batch/seen_ids.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/storage/largest_allocation.h"

namespace sluice {
namespace {

TEST_CASE("an id is new once") {
  SeenIds seen;
  CHECK(seen.Insert("a"));
  CHECK(seen.Insert("b"));
  CHECK_FALSE(seen.Insert("a"));
  CHECK(seen.Insert(""));
  CHECK_FALSE(seen.Insert(""));
  CHECK(seen.Insert(absl::string_view("a\0b", 3)));
  CHECK_FALSE(seen.Insert(absl::string_view("a\0b", 3)));
}

TEST_CASE("memory does not grow with the length of ids") {
  if (!CountsAllocations()) return;
  SeenIds seen;
  std::string id(100000, 'x');
  ResetLargestAllocation();
  for (char c = 'a'; c <= 'z'; ++c) {
    id[0] = c;
    CHECK(seen.Insert(id));
    CHECK_FALSE(seen.Insert(id));
  }
  CHECK(LargestAllocationBytes() > 0);
  CHECK(LargestAllocationBytes() < 10000);
}

}  // namespace
}  // namespace sluice
