// Whether guessing experts is worth its reads at the moment.
//
// A right guess gains what of it has been read when it is asked for: the drive
// would have idled. A wrong one loses what of it is in flight then, since demand
// waits behind it, and takes a slot. On a slow drive, or with small experts, the
// two are of a size, so they are weighed by their bytes. When guesses lose more
// than they gain, or hardly any is right, guessing switches itself off and is
// tried again now and then. Pure: the same calls give the same answers.
#ifndef SLUICE_PREFETCH_GUESS_GATE_H_
#define SLUICE_PREFETCH_GUESS_GATE_H_

#include <cstdint>

namespace sluice {

// Running totals of guesses that were asked for or not.
struct GuessTotals {
  uint64_t used = 0;
  uint64_t wasted = 0;
  uint64_t gained_bytes = 0;  // of used ones, read before they were asked for
  uint64_t lost_bytes = 0;    // of wasted ones, still in flight when others were asked for
};

class GuessGate {
 public:
  // Once per chance to guess. True when this chance should be used.
  bool Open(const GuessTotals& totals) {
    Count(totals);
    if (closed_for_ > 0) {
      if (--closed_for_ == 0) Forget();
      return closed_for_ == 0;
    }
    const bool known = used_ + wasted_ >= kLook;
    if (known && (usefulness() < kLeastUseful || lost_bytes_ * kMargin > gained_bytes_)) closed_for_ = kPause;
    return closed_for_ == 0;
  }

  // The chance that a guess turns out right, going by the last ones.
  double usefulness() const { return (used_ + 1) / (used_ + wasted_ + 2); }

 private:
  // What is long ago counts less: some 32 guesses are remembered.
  static constexpr double kKept = 31.0 / 32;
  static constexpr double kLook = 7;  // that many must be remembered for a verdict
  static constexpr double kLeastUseful = 0.2;
  static constexpr double kMargin = 1.25;
  static constexpr int kPause = 1024;  // chances, some 18 tokens of DeepSeek-R1

  void Count(const GuessTotals& totals) {
    const uint64_t used = totals.used - seen_.used, wasted = totals.wasted - seen_.wasted;
    for (uint64_t i = 0; i < used + wasted; ++i) {
      used_ *= kKept;
      wasted_ *= kKept;
      gained_bytes_ *= kKept;
      lost_bytes_ *= kKept;
    }
    used_ += static_cast<double>(used);
    wasted_ += static_cast<double>(wasted);
    gained_bytes_ += static_cast<double>(totals.gained_bytes - seen_.gained_bytes);
    lost_bytes_ += static_cast<double>(totals.lost_bytes - seen_.lost_bytes);
    seen_ = totals;
  }

  void Forget() { used_ = wasted_ = gained_bytes_ = lost_bytes_ = 0; }

  GuessTotals seen_;
  double used_ = 0;  // all four with what is long ago counting less
  double wasted_ = 0;
  double gained_bytes_ = 0;
  double lost_bytes_ = 0;
  int closed_for_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_PREFETCH_GUESS_GATE_H_
