// Which of two copies of a file the next read goes to.
//
// The one that would deliver it first, going by the bytes each still owes and
// the speed at which each has delivered: in the long run reads are shared in
// proportion to speed, and a drive that stalls is left alone until it answers.
// Pure: time is an argument. Not synchronised.
#ifndef SLUICE_STORAGE_COPY_CHOOSER_H_
#define SLUICE_STORAGE_COPY_CHOOSER_H_

#include <algorithm>
#include <array>
#include <cstdint>

namespace sluice {

class CopyChooser {
 public:
  // 0 for the original, 1 for its mirror; the original when both would be as fast.
  int Choose(uint64_t bytes) const { return Expected(copies_[1], bytes) < Expected(copies_[0], bytes) ? 1 : 0; }

  void Submitted(int copy, uint64_t bytes, int64_t now_ns) {
    Advance(&copies_[copy], now_ns);
    copies_[copy].owed_bytes += bytes;
  }
  void Finished(int copy, uint64_t bytes, int64_t now_ns) {
    Copy& c = copies_[copy];
    Advance(&c, now_ns);
    c.owed_bytes -= std::min(bytes, c.owed_bytes);
    c.window_bytes += static_cast<double>(bytes);
    if (c.window_ns < kWindowNs) return;
    // Older observations fade, so that a drive that warms up or slows down is noticed.
    c.bytes_per_ns = c.window_bytes / c.window_ns;
    c.window_bytes /= 2;
    c.window_ns /= 2;
  }

 private:
  static constexpr double kWindowNs = 2e8;

  struct Copy {
    uint64_t owed_bytes = 0;
    double bytes_per_ns = 1.0;  // until it is known
    double window_bytes = 0.0;
    double window_ns = 0.0;  // time with reads under way
    int64_t seen_until_ns = 0;
  };

  static double Expected(const Copy& copy, uint64_t bytes) {
    return (static_cast<double>(copy.owed_bytes) + static_cast<double>(bytes)) / copy.bytes_per_ns;
  }
  static void Advance(Copy* copy, int64_t now_ns) {
    if (copy->owed_bytes > 0) copy->window_ns += static_cast<double>(now_ns - copy->seen_until_ns);
    copy->seen_until_ns = now_ns;
  }

  std::array<Copy, 2> copies_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_COPY_CHOOSER_H_
