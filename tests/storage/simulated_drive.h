// A drive on a clock of its own, which stands still unless the test moves it.
//
// Serves reads one after the other at a fixed rate, each with a fixed latency on
// top, and writes nothing into their destinations. The I/O thread that owns it is
// parked in Reap whenever the clock moves, so a run is the same every time.
#ifndef SLUICE_TESTS_STORAGE_SIMULATED_DRIVE_H_
#define SLUICE_TESTS_STORAGE_SIMULATED_DRIVE_H_

#include <algorithm>
#include <cstdint>
#include <deque>

#include "base/mutex.h"
#include "storage/block_reader.h"

namespace sluice {

class SimulatedDrive final : public BlockReader {
 public:
  SimulatedDrive(double bytes_per_second, int64_t latency_ns)
      : ns_per_byte_(1e9 / bytes_per_second), latency_ns_(latency_ns) {}

  absl::string_view name() const override { return "simulated"; }
  bool direct_io() const override { return true; }
  uint32_t alignment_bytes() const override { return 4096; }
  int capacity() const override { return 64; }

  absl::Status Submit(absl::Span<const BlockRead> reads) override {
    MutexLock lock(&mutex_);
    for (const BlockRead& read : reads) {
      free_at_ns_ = std::max(free_at_ns_, now_ns_) + static_cast<int64_t>(read.bytes * ns_per_byte_);
      flying_.push_back({free_at_ns_ + latency_ns_, {read.tag, static_cast<int32_t>(read.bytes)}});
      bytes_ += read.bytes;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override {
    MutexLock lock(&mutex_);
    while (!woken_ && !AnyDone()) {
      parked_ = true;
      parking_.NotifyAll();
      news_.Wait(&mutex_);
    }
    parked_ = woken_ = false;
    size_t count = 0;
    for (; count < out.size() && AnyDone(); ++count) {
      out[count] = flying_.front().completion;
      flying_.pop_front();
    }
    return count;
  }

  void Wake() override {
    MutexLock lock(&mutex_);
    woken_ = true;
    news_.NotifyAll();
  }

  // The test's calls, from one thread.

  // Lets the I/O thread take up everything that was asked of it until now.
  void Settle() {
    MutexLock lock(&mutex_);
    woken_ = true;
    AwaitParked();
  }

  void AdvanceBy(int64_t ns) {
    MutexLock lock(&mutex_);
    const int64_t until_ns = now_ns_ + ns;
    while (!flying_.empty() && flying_.front().done_ns <= until_ns) CompleteFirst();
    now_ns_ = until_ns;
  }

  // Moves on to the next completion; false when nothing is under way.
  bool Step() {
    MutexLock lock(&mutex_);
    if (flying_.empty()) return false;
    CompleteFirst();
    return true;
  }

  int64_t now_ns() const {
    MutexLock lock(&mutex_);
    return now_ns_;
  }
  // Of all reads begun.
  uint64_t bytes() const {
    MutexLock lock(&mutex_);
    return bytes_;
  }

 private:
  struct Flying {
    int64_t done_ns;
    BlockCompletion completion;
  };

  bool AnyDone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !flying_.empty() && flying_.front().done_ns <= now_ns_;
  }
  void CompleteFirst() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    now_ns_ = std::max(now_ns_, flying_.front().done_ns);
    AwaitParked();
  }
  void AwaitParked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    news_.NotifyAll();
    while (!parked_ || woken_ || AnyDone()) parking_.Wait(&mutex_);
  }

  const double ns_per_byte_;
  const int64_t latency_ns_;
  mutable Mutex mutex_;
  CondVar news_;
  CondVar parking_;
  bool parked_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t now_ns_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t free_at_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Flying> flying_ ABSL_GUARDED_BY(mutex_);  // in the order of their ends
};

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_SIMULATED_DRIVE_H_
