#include "src/batch/prefix_index.h"

#include <doctest/doctest.h>

#include <vector>

#include "src/model/kv_cache.h"

namespace sluice {
namespace {

using Blocks = std::vector<int32_t>;

// `length` tokens that are the same for the same `kind`, up to `changed`, which is another.
std::vector<int32_t> Prompt(int64_t length, int32_t kind = 0, int64_t changed = -1) {
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < length; ++i)
    prompt.push_back(static_cast<int32_t>(kind * 1000 + i + (i == changed ? 500 : 0)));
  return prompt;
}

TEST_CASE("blocks are 32 tokens long in these tests") { CHECK(kKvBlockTokens == 32); }

TEST_CASE("a prompt finds the whole blocks that it has in common with another") {
  PrefixIndex index(4);
  CHECK(index.Find(Prompt(100)).empty());
  index.Add(0, Prompt(100), {7, 3, 5, 9});
  CHECK(index.Find(Prompt(100)) == Blocks{7, 3, 5});
  CHECK(index.Find(Prompt(70)) == Blocks{7, 3});
  CHECK(index.Find(Prompt(200)) == Blocks{7, 3, 5});
  CHECK(index.Find(Prompt(100, 1)).empty());
}

TEST_CASE("a prompt's last token is never shared") {
  PrefixIndex index(4);
  index.Add(0, Prompt(64), {7, 3});
  CHECK(index.Find(Prompt(64)) == Blocks{7});
  CHECK(index.Find(Prompt(65)) == Blocks{7});
  CHECK(index.Find(Prompt(33)) == Blocks{7});
  CHECK(index.Find(Prompt(32)).empty());
  CHECK(index.Find({}).empty());
}

TEST_CASE("blocks are shared only behind equal beginnings") {
  PrefixIndex index(4);
  index.Add(0, Prompt(100), {7, 3, 5, 9});
  CHECK(index.Find(Prompt(100, 0, 40)) == Blocks{7});
  CHECK(index.Find(Prompt(100, 0, 0)).empty());
  // The second block's tokens are the same, but not what came before.
  std::vector<int32_t> moved = Prompt(100);
  moved.erase(moved.begin(), moved.begin() + 32);
  CHECK(index.Find(moved).empty());
}

TEST_CASE("a document that begins as another goes on with blocks of its own") {
  PrefixIndex index(4);
  index.Add(0, Prompt(100), {7, 3, 5, 9});
  index.Add(1, Prompt(100, 0, 70), {7, 3, 11, 12});
  CHECK(index.Find(Prompt(100)) == Blocks{7, 3, 5});
  CHECK(index.Find(Prompt(100, 0, 70)) == Blocks{7, 3, 11});
}

TEST_CASE("blocks are ready when their positions have been computed, whoever asks") {
  PrefixIndex index(4);
  index.Add(0, Prompt(100), {7, 3, 5, 9});
  index.Add(1, Prompt(100), {7, 3, 5, 10});
  CHECK(index.Ready(1, 0));
  CHECK_FALSE(index.Ready(1, 32));
  index.Advance(0, 31);
  CHECK_FALSE(index.Ready(1, 32));
  index.Advance(0, 95);
  CHECK(index.Ready(1, 64));
  CHECK_FALSE(index.Ready(1, 96));
  index.Advance(0, 100);
  CHECK(index.Ready(1, 96));
  CHECK(index.Ready(0, 96));
}

TEST_CASE("a block is known until the last document that holds it is gone") {
  PrefixIndex index(4);
  index.Add(0, Prompt(100), {7, 3, 5, 9});
  index.Add(1, Prompt(70), {7, 3, 10});
  index.Advance(0, 100);
  index.Remove(0);
  CHECK(index.Find(Prompt(100)) == Blocks{7, 3});
  CHECK(index.Ready(1, 64));
  index.Remove(1);
  CHECK(index.Find(Prompt(100)).empty());
  index.Remove(1);
}

TEST_CASE("what is computed again after its last holder went is not ready before") {
  PrefixIndex index(4);
  index.Add(0, Prompt(40), {7, 3});
  index.Advance(0, 40);
  index.Remove(0);
  index.Add(0, Prompt(40), {8, 2});
  index.Add(1, Prompt(50), {8, 4});
  CHECK_FALSE(index.Ready(1, 32));
  CHECK(index.Find(Prompt(40)) == Blocks{8});
}

TEST_CASE("the same beginning computed twice leaves the first one to be shared") {
  PrefixIndex index(4);
  index.Add(0, Prompt(100), {7, 3, 5, 9});
  index.Add(1, Prompt(100), {20, 21, 22, 23});
  CHECK(index.Find(Prompt(100)) == Blocks{7, 3, 5});
  index.Advance(1, 100);
  CHECK_FALSE(index.Ready(0, 32));
  index.Remove(1);
  CHECK(index.Find(Prompt(100)) == Blocks{7, 3, 5});
  index.Remove(0);
  CHECK(index.Find(Prompt(100)).empty());
}

}  // namespace
}  // namespace sluice
