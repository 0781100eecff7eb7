// A wish from outside, e.g. Ctrl-C, that long work should end.
//
// Borrows the flag, or none that is ever raised. Whoever raises it may be a
// signal handler, which can notify no condition: waits look at it themselves.
#ifndef SLUICE_BASE_STOP_FLAG_H_
#define SLUICE_BASE_STOP_FLAG_H_

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "base/mutex.h"

namespace sluice {

class StopFlag {
 public:
  StopFlag() = default;
  explicit StopFlag(const std::atomic<bool>* flag) : flag_(flag) {}

  bool raised() const { return flag_ != nullptr && flag_->load(std::memory_order_relaxed); }
  // Cancelled when the flag is raised.
  absl::Status Check() const { return raised() ? absl::CancelledError("interrupted") : absl::OkStatus(); }

  // One wait of a loop over a condition and Check: ends with the news, or when it
  // is time to look at the flag again.
  void Wait(CondVar* news, Mutex* mutex) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (flag_ == nullptr) return news->Wait(mutex);
    news->WaitFor(mutex, kLookNs);
  }

 private:
  static constexpr int64_t kLookNs = 50'000'000;

  const std::atomic<bool>* flag_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_BASE_STOP_FLAG_H_
