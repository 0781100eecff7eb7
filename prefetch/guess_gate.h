// Whether guessing experts is worth its reads at the moment.
//
// A wrong guess delays demand by what of it is in flight and takes a slot; a
// right one fills time in which the drive would idle. Below kBreakEven of right
// ones guessing switches itself off and is tried again now and then. Pure: the
// same calls give the same answers.
#ifndef SLUICE_PREFETCH_GUESS_GATE_H_
#define SLUICE_PREFETCH_GUESS_GATE_H_

#include <cstdint>

namespace sluice {

class GuessGate {
 public:
  // Once per chance to guess, with the running totals of guesses that turned out
  // right and wrong. True when this chance should be used.
  bool Open(uint64_t used, uint64_t wasted) {
    const double right = static_cast<double>(used - used_), wrong = static_cast<double>(wasted - wasted_);
    used_ = used;
    wasted_ = wasted;
    for (double outcomes = right + wrong; outcomes > 0.0; outcomes -= 1.0) {
      usefulness_ += (right / (right + wrong) - usefulness_) * kWeight;
    }
    if (closed_for_ > 0) return --closed_for_ < kTrial;
    if (usefulness_ < kBreakEven) closed_for_ = kPause;
    return closed_for_ == 0;
  }

 private:
  // In flight are at most four chunks of a megabyte, an expert is some 25: a
  // wrong guess costs about a sixth of what a right one brings.
  static constexpr double kBreakEven = 0.2;
  static constexpr double kWeight = 1.0 / 32;
  static constexpr int kPause = 1024;  // chances, some 18 tokens of DeepSeek-R1
  static constexpr int kTrial = 48;    // of them at the end, used to look again

  uint64_t used_ = 0;
  uint64_t wasted_ = 0;
  double usefulness_ = 0.5;
  int closed_for_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_PREFETCH_GUESS_GATE_H_
