#include "src/cli/progress.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_format.h"
#include "base/clock.h"

namespace sluice {
namespace {

constexpr int64_t kTerminalIntervalNs = 100'000'000;
constexpr int64_t kLogIntervalNs = 1'000'000'000;

}  // namespace

Progress::Progress(When when)
    : on_terminal_(isatty(STDERR_FILENO) != 0),
      enabled_(when == When::kAlways || (when == When::kOnTerminal && on_terminal_)) {}

void Progress::Show(absl::string_view what, uint64_t done, uint64_t total) {
  const double percent = total == 0 ? 100.0 : 100.0 * static_cast<double>(done) / static_cast<double>(total);
  if (enabled_ && Due(done >= total)) Print(absl::StrFormat("%s %.0f %%", what, percent));
}

void Progress::ShowText(absl::string_view text, bool last) {
  if (enabled_ && Due(last)) Print(text);
}

bool Progress::Due(bool last) {
  const int64_t now_ns = NowNs();
  if (!last && now_ns < next_ns_) return false;
  next_ns_ = now_ns + (on_terminal_ ? kTerminalIntervalNs : kLogIntervalNs);
  return true;
}

void Progress::Print(absl::string_view text) {
  shown_ = on_terminal_;
  absl::FPrintF(stderr, "%s%s%s", on_terminal_ ? "\r" : "", text, on_terminal_ ? "\x1b[K" : "\n");
}

void Progress::Say(absl::string_view lines) {
  if (!enabled_) return;
  Clear();
  absl::FPrintF(stderr, "%s", lines);
}

void Progress::Clear() {
  if (shown_) absl::FPrintF(stderr, "\r\x1b[K");
  shown_ = false;
}

}  // namespace sluice
