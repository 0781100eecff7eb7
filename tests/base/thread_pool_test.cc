#include "base/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <vector>

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

TEST_CASE("many short jobs in a row neither hang nor lose a chunk") {
  ThreadPool pool(4);
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 20000; ++job) {
    pool.ParallelFor(3, [&](int64_t chunk, int) { sum.fetch_add(chunk + 1); });
  }
  CHECK(sum.load() == 20000 * 6);
}

}  // namespace
}  // namespace sluice
