#include "src/batch/prompt_balance.h"

#include <doctest/doctest.h>

#include <limits>

namespace sluice {
namespace {

constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();
constexpr int64_t kMs = 1'000'000;

// A machine: what its sweeps cost by their rows.
struct Machine {
  int64_t fixed_ns = 0;
  int64_t row_ns = 0;
  int64_t read_ns = 0;

  PromptBalance::Sweep Run(int64_t rows) const { return {rows, fixed_ns + rows * row_ns, read_ns}; }
};

PromptBalance After(const Machine& machine, int sweeps = 20) {
  PromptBalance balance;
  for (int i = 0; i < sweeps; ++i) balance.Observe(machine.Run(i % 2 == 0 ? 100 : 400));
  return balance;
}

TEST_CASE("with nothing measured or nothing to hide behind there is no bound") {
  CHECK(PromptBalance().RowsFor(10) == kUnbounded);
  CHECK(After({0, kMs, 1000 * kMs}).RowsFor(0) == kUnbounded);
}

TEST_CASE("prompts fill the time that the reads leave") {
  const PromptBalance balance = After({50 * kMs, kMs, 1050 * kMs});
  CHECK(balance.RowsFor(100) == doctest::Approx(900).epsilon(0.02));
  CHECK(balance.RowsFor(600) == doctest::Approx(400).epsilon(0.02));
}

TEST_CASE("what a sweep costs whatever its rows is not taken for the rows' cost") {
  const PromptBalance dear = After({500 * kMs, kMs, 1000 * kMs});
  CHECK(dear.RowsFor(100) == doctest::Approx(400).epsilon(0.02));
}

TEST_CASE("sweeps of one size put all of their cost on their rows") {
  PromptBalance balance;
  const Machine machine = {100 * kMs, kMs, 1000 * kMs};
  for (int i = 0; i < 10; ++i) balance.Observe(machine.Run(100));
  // 200 ms for 100 rows: 500 of them in a second, 400 besides the 100.
  CHECK(balance.RowsFor(100) == doctest::Approx(400).epsilon(0.02));
}

TEST_CASE("where computing is the limit prompts go on with the fewest rows") {
  const PromptBalance balance = After({0, 10 * kMs, 5 * kMs});
  CHECK(balance.RowsFor(200) == PromptBalance::kFewestRows);
}

TEST_CASE("a drive that becomes faster is followed, and so is one that becomes slower") {
  PromptBalance balance = After({0, kMs, 2000 * kMs});
  CHECK(balance.RowsFor(100) > 1500);
  for (int i = 0; i < 30; ++i) balance.Observe(Machine{0, kMs, 400 * kMs}.Run(i % 2 == 0 ? 100 : 400));
  CHECK(balance.RowsFor(100) == doctest::Approx(300).epsilon(0.03));
  for (int i = 0; i < 30; ++i) balance.Observe(Machine{0, kMs, 2000 * kMs}.Run(i % 2 == 0 ? 100 : 400));
  CHECK(balance.RowsFor(100) == doctest::Approx(1900).epsilon(0.03));
}

TEST_CASE("measurements that make no line give a number all the same") {
  const PromptBalance::Sweep odd[] = {{1, 0, 0}, {1, 0, kMs}, {4096, 1, kUnbounded / 4}, {1, kUnbounded / 4, 1}};
  for (const PromptBalance::Sweep& first : odd) {
    for (const PromptBalance::Sweep& second : odd) {
      PromptBalance balance;
      balance.Observe(first);
      balance.Observe(second);
      CHECK(balance.RowsFor(1) >= PromptBalance::kFewestRows);
    }
  }
}

}  // namespace
}  // namespace sluice
