// How fast a batch job goes and when it will be done.
#ifndef SLUICE_SRC_BATCH_BATCH_METER_H_
#define SLUICE_SRC_BATCH_BATCH_METER_H_

#include <cstdint>
#include <string>

#include "base/checked_math.h"

namespace sluice {

struct BatchStatus {
  // Documents; all but the first two of this process and those before it.
  uint64_t active = 0;
  uint64_t waiting = 0;
  uint64_t done = 0;  // errors included
  uint64_t errors = 0;
  double tokens_per_minute_now = 0;  // generated, over the last sweeps
  double tokens_per_minute = 0;      // since this process began
  double read_gbps = 0;              // over the last sweeps
  double eta_seconds = -1;           // unknown when negative
};

// "12 of 64 documents, 40 active, 12 waiting · 101 tokens/min (now 110) · 1.9 GB/s · 2 h 10 min left"
std::string StatusLine(const BatchStatus& status);
// "2 h 10 min", "45 s".
std::string DurationText(double seconds);

// Rates over sweeps; one thread.
class BatchMeter {
 public:
  struct Sweep {
    int64_t wall_ns = 0;
    uint64_t generated_tokens = 0;
    uint64_t prompt_tokens = 0;
    uint64_t bytes_read = 0;
  };

  void Observe(const Sweep& sweep);

  const Sweep& total() const { return total_; }
  // Of a sweep, with the old ones forgotten; 0 before the first.
  double sweep_seconds() const { return Ratio(recent_seconds_, recent_weight_); }
  double tokens_per_minute() const;
  double tokens_per_minute_now() const;
  double read_gbps() const;
  // For so many tokens more, prompts counted by what they have cost; negative when unknown.
  double SecondsFor(double generated_tokens, double prompt_tokens) const;

 private:
  Sweep total_;
  double recent_weight_ = 0;
  double recent_seconds_ = 0;
  double recent_generated_ = 0;
  double recent_bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_BATCH_METER_H_
