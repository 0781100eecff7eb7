#include "src/batch/seen_ids.h"

#include <doctest/doctest.h>

#include <string>

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
  CHECK(seen.size() == 4);
}

TEST_CASE("memory does not grow with the length of ids") {
  SeenIds seen;
  CHECK(seen.memory_bytes() == 0);
  const std::string tail(10000, 'x');
  for (int i = 0; i < 1000; ++i) CHECK(seen.Insert(std::to_string(i) + tail));
  CHECK(seen.size() == 1000);
  CHECK(seen.memory_bytes() >= 17 * 1000);
  CHECK(seen.memory_bytes() <= 40 * 1000);
}

}  // namespace
}  // namespace sluice
