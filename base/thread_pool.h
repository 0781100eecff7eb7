// A fixed set of threads that share out numbered chunks of work.
//
// Chunks are taken dynamically, so unequal cores share fairly; what a chunk
// computes must depend on its number alone, never on who runs it. Workers spin
// for a bounded time after a job and then sleep: with a disk-bound sweep the
// cores must be idle between layers.
#ifndef SLUICE_BASE_THREAD_POOL_H_
#define SLUICE_BASE_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/mutex.h"

namespace sluice {

class ThreadPool {
 public:
  // `threads` counts the caller of ParallelFor: 1 starts no thread at all. Fewer
  // than asked for when the system grants no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(chunk, thread) once for each chunk in [0, chunks) and returns
  // when all calls have returned. `thread` is in [0, threads()) and names a
  // scratch area. Called by one thread at a time; never from inside a body. A
  // worker that has no core, or is still waking up, is not waited for.
  void ParallelFor(int64_t chunks, absl::FunctionRef<void(int64_t chunk, int thread)> body);

 private:
  using Body = absl::FunctionRef<void(int64_t, int)>;

  void Work(int thread);
  void RunChunks(int thread);
  // Whether the job is still open; Leave() must follow then.
  bool Enter();
  void Leave();
  // Returns the new job number, or 0 when the pool is closing.
  uint64_t AwaitJob(uint64_t seen);

  std::vector<std::thread> workers_;
  const Body* body_ = nullptr;
  int64_t chunks_ = 0;
  std::atomic<int64_t> next_chunk_{0};
  // Bit 31: a job is open to workers; below it how many are inside. A job's body
  // and chunks stay as they are until it is closed and nobody is inside.
  std::atomic<uint32_t> door_{0};
  std::atomic<uint64_t> job_{1};
  std::atomic<bool> closing_{false};
  std::atomic<int> sleepers_{0};
  Mutex mutex_;
  CondVar wake_;
};

}  // namespace sluice

#endif  // SLUICE_BASE_THREAD_POOL_H_
