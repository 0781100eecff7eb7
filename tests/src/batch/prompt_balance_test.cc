#include "src/batch/prompt_balance.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/checked_math.h"

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

TEST_CASE("the last prompts are spread over the sweeps that the answers under way leave them") {
  CHECK(RowsToEndTogether({.prompt_rows = 900, .prompt_tokens = 16, .running_tokens = 24}) == 100);
  CHECK(RowsToEndTogether({.prompt_rows = 901, .prompt_tokens = 16, .running_tokens = 24}) == 101);
  CHECK(RowsToEndTogether({.prompt_rows = 900, .prompt_tokens = 16, .running_tokens = 16}) == 900);
  CHECK(RowsToEndTogether({.prompt_rows = 900, .prompt_tokens = 16, .running_tokens = 3}) == 900);
  CHECK(RowsToEndTogether({.prompt_rows = 0, .prompt_tokens = 0, .running_tokens = 5}) == 0);
}

// Documents of one size behind which nothing waits, on a machine whose sweeps take
// the longer of their reads, whatever their rows, and their computing.
struct LastJob {
  int64_t documents, prompt, answer, running_tokens;
  Machine machine;

  // With `rows_for` prompt rows in each sweep, given what is left.
  template <class RowsFor>
  int64_t Run(RowsFor rows_for) const {
    int64_t ns = 0, fed = 0;
    std::vector<int64_t> left(static_cast<size_t>(documents), answer);
    for (int64_t sweep = 0;; ++sweep) {
      const int64_t whole = fed / prompt;  // documents whose prompts are
      const int64_t old = std::max<int64_t>(0, running_tokens - sweep);
      const auto runs = [](int64_t tokens) { return tokens > 0; };
      const int64_t running = std::count_if(left.begin(), left.begin() + whole, runs);
      if (whole == documents && running == 0 && old == 0) return ns;
      const int64_t longest = std::max(old, whole == 0 ? 0 : *std::max_element(left.begin(), left.begin() + whole));
      const int64_t others = running + 50 * (old > 0);
      const LastRows last = {documents * prompt - fed, whole == documents ? 0 : answer, longest};
      const int64_t rows = std::min(last.prompt_rows, rows_for(last, others));
      for (int64_t d = 0; d < whole; ++d) left[static_cast<size_t>(d)] -= left[static_cast<size_t>(d)] > 0;
      fed += rows;
      for (int64_t d = whole; d < fed / prompt; ++d) --left[static_cast<size_t>(d)];
      ns += std::max(machine.read_ns, machine.fixed_ns + (rows + others) * machine.row_ns);
    }
  }
};

TEST_CASE("no fixed number of prompt rows ends a job much sooner than filling gaps or ending together does") {
  int jobs = 0, sooner = 0;
  for (int64_t prompt : {8, 100}) {
    for (int64_t running_tokens : {0, 5, 20, 60}) {
      for (int64_t row_us : {100, 400, 2000}) {
        const LastJob job = {500, prompt, 16, running_tokens, {50 * kMs, row_us * 1000, 1000 * kMs}};
        const PromptBalance balance = After(job.machine);
        const auto gaps = [&](const LastRows&, int64_t others) { return balance.RowsFor(others); };
        const int64_t ns = job.Run([&](const LastRows& last, int64_t others) {
          return std::max(gaps(last, others), RowsToEndTogether(last));
        });
        for (int64_t sweeps = 1; sweeps <= 80; ++sweeps) {
          const int64_t rows = CeilDiv(job.documents * prompt, sweeps);
          CHECK(ns <= 1.05 * job.Run([&](const LastRows&, int64_t) { return rows; }));
        }
        ++jobs;
        sooner += ns < 0.95 * job.Run(gaps);
      }
    }
  }
  CHECK(jobs == 24);
  CHECK(sooner >= 4);
}

}  // namespace
}  // namespace sluice
