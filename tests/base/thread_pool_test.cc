#include "base/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <vector>

#include "base/clock.h"

namespace sluice {
namespace {

TEST_CASE("each chunk runs exactly once with any number of threads") {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int64_t chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(1000);
      pool.ParallelFor(chunks, [&](int64_t chunk, int thread) {
        CHECK((thread >= 0 && thread < threads));
        runs[chunk].fetch_add(1);
      });
      for (int64_t chunk = 0; chunk < 1000; ++chunk) CHECK(runs[chunk].load() == (chunk < chunks ? 1 : 0));
    }
  }
}

// Each job has its own body, data and number of chunks, all gone when it
// returns: a worker that came late to the job before would run the wrong body,
// take a chunk of the next job or touch what is no more.
TEST_CASE("a worker that is late for one job takes nothing from the next") {
  for (int threads : {2, 4, 9}) {
    ThreadPool pool(threads);
    int64_t wrong = 0;
    for (int job = 0; job < (threads < 9 ? 3000 : 300); ++job) {
      const int64_t chunks = job % 11;
      std::vector<int> runs(static_cast<size_t>(chunks) + 1, 0);
      std::vector<int> seen_job(static_cast<size_t>(chunks) + 1, -1);
      pool.ParallelFor(chunks, [&, job](int64_t chunk, int) {
        ++runs[static_cast<size_t>(chunk)];  // plain: one thread has it
        seen_job[static_cast<size_t>(chunk)] = job;
      });
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        wrong += runs[static_cast<size_t>(chunk)] != 1 || seen_job[static_cast<size_t>(chunk)] != job;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("what a job wrote is seen by the caller and by the next job") {
  ThreadPool pool(4);
  std::vector<int64_t> values(64, 0);
  for (int job = 0; job < 3000; ++job) {
    // Each chunk reads what another thread may have written in the job before.
    std::vector<int64_t> next(values.size());
    pool.ParallelFor(64, [&](int64_t chunk, int) { next[chunk] = values[(chunk + 1) % 64] + 1; });
    values = next;
  }
  for (int64_t value : values) CHECK(value == 3000);
}

TEST_CASE("two threads of a job never have the same number") {
  ThreadPool pool(5);
  std::vector<std::atomic<int>> inside(5);
  std::atomic<int> clashes{0};
  for (int job = 0; job < 2000; ++job) {
    pool.ParallelFor(20, [&](int64_t, int thread) {
      clashes.fetch_add(inside[thread].fetch_add(1));
      inside[thread].fetch_sub(1);
    });
  }
  CHECK(clashes.load() == 0);
}

TEST_CASE("a pool may be closed at once, asleep or awake") {
  for (int i = 0; i < 200; ++i) {
    ThreadPool pool(1 + i % 6);
    std::atomic<int> runs{0};
    if (i % 3 != 0) pool.ParallelFor(i % 5, [&](int64_t, int) { runs.fetch_add(1); });
    CHECK(runs.load() == (i % 3 != 0 ? i % 5 : 0));
    // Long enough for workers to fall asleep in some of the rounds.
    const int64_t until_ns = NowNs() + (i % 10 == 9 ? 200'000 : 0);
    while (NowNs() < until_ns) {
    }
    if (i % 2 == 0) pool.ParallelFor(8, [&](int64_t, int) { runs.fetch_add(1); });
  }
}

TEST_CASE("sleeping workers wake up for the next job") {
  ThreadPool pool(4);
  std::atomic<int64_t> runs{0};
  for (int job = 0; job < 200; ++job) {
    const int64_t until_ns = NowNs() + 80'000;  // beyond their spinning
    while (NowNs() < until_ns) {
    }
    pool.ParallelFor(4, [&](int64_t, int) { runs.fetch_add(1); });
  }
  CHECK(runs.load() == 800);
}

TEST_CASE("many short jobs in a row neither hang nor lose a chunk") {
  ThreadPool pool(4);
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 5000; ++job) {
    pool.ParallelFor(3, [&](int64_t chunk, int) { sum.fetch_add(chunk + 1); });
  }
  CHECK(sum.load() == 5000 * 6);
}

}  // namespace
}  // namespace sluice
