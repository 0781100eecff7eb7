#include "base/thread_pool.h"

#include <system_error>

#include "base/check.h"
#include "base/clock.h"

namespace sluice {
namespace {

// Longer than the gap between two products of a layer (a few microseconds),
// much shorter than a wait for the disk (milliseconds).
constexpr int64_t kSpinNs = 50'000;
// Pauses of the caller before it offers its core to workers that have none,
// because there are more threads than cores.
constexpr int kSpinsBeforeYield = 1024;
constexpr uint32_t kOpen = uint32_t{1} << 31;

inline void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  SLUICE_CHECK(threads >= 1);
  workers_.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int thread = 1; thread < threads; ++thread) {
      workers_.emplace_back([this, thread] { Work(thread); });
    }
  } catch (const std::system_error&) {
    // The system grants no more: threads() tells, and only speed depends on it.
  }
}

ThreadPool::~ThreadPool() {
  {
    MutexLock lock(&mutex_);
    closing_.store(true);
    wake_.NotifyAll();
  }
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::ParallelFor(int64_t chunks, Body body) {
  if (workers_.empty() || chunks <= 1) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, 0);
    return;
  }
  body_ = &body;
  chunks_ = chunks;
  next_chunk_.store(0, std::memory_order_relaxed);
  door_.store(kOpen, std::memory_order_release);
  job_.fetch_add(1);
  if (sleepers_.load() > 0) {
    MutexLock lock(&mutex_);
    wake_.NotifyAll();
  }
  RunChunks(0);
  door_.fetch_and(~kOpen, std::memory_order_relaxed);
  for (int spin = 0; door_.load(std::memory_order_acquire) > 0; ++spin) {
    if (spin < kSpinsBeforeYield) {
      CpuRelax();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::RunChunks(int thread) {
  for (;;) {
    const int64_t chunk = next_chunk_.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= chunks_) return;
    (*body_)(chunk, thread);
  }
}

void ThreadPool::Work(int thread) {
  uint64_t seen = 1;
  while ((seen = AwaitJob(seen)) != 0) {
    if (!Enter()) continue;
    RunChunks(thread);
    Leave();
  }
}

bool ThreadPool::Enter() {
  uint32_t door = door_.load(std::memory_order_relaxed);
  while ((door & kOpen) != 0) {
    if (door_.compare_exchange_weak(door, door + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  }
  return false;
}

void ThreadPool::Leave() { door_.fetch_sub(1, std::memory_order_release); }

uint64_t ThreadPool::AwaitJob(uint64_t seen) {
  const int64_t deadline_ns = NowNs() + kSpinNs;
  do {
    for (int spin = 0; spin < 64; ++spin) {
      const uint64_t job = job_.load(std::memory_order_acquire);
      if (job != seen) return job;
      CpuRelax();
    }
  } while (NowNs() < deadline_ns);
  MutexLock lock(&mutex_);
  sleepers_.fetch_add(1);
  while (job_.load() == seen && !closing_.load()) wake_.Wait(&mutex_);
  sleepers_.fetch_sub(1);
  return job_.load() == seen ? 0 : job_.load();
}

}  // namespace sluice
