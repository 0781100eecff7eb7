#include "src/batch/batch_meter.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/checked_math.h"
#include "base/clock.h"

namespace sluice {
namespace {

// What a sweep counts when the next one is over.
constexpr double kMemory = 0.7;

}  // namespace

std::string DurationText(double seconds) {
  const int64_t whole = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrCat(whole / 60, " min ", whole % 60, " s");
  return absl::StrCat(whole / 3600, " h ", whole % 3600 / 60, " min");
}

std::string StatusLine(const BatchStatus& status) {
  const uint64_t documents = status.done + status.active + status.waiting;
  std::string line = absl::StrFormat("%d of %d documents, %d active, %d waiting", status.done, documents, status.active,
                                     status.waiting);
  if (status.errors > 0) absl::StrAppendFormat(&line, ", %d errors", status.errors);
  absl::StrAppendFormat(&line, " · %.1f tokens/min (now %.1f) · %.2f GB/s", status.tokens_per_minute,
                        status.tokens_per_minute_now, status.read_gbps);
  if (status.eta_seconds >= 0) absl::StrAppend(&line, " · ", DurationText(status.eta_seconds), " left");
  return line;
}

void BatchMeter::Observe(const Sweep& sweep) {
  total_.wall_ns += sweep.wall_ns;
  total_.generated_tokens += sweep.generated_tokens;
  total_.prompt_tokens += sweep.prompt_tokens;
  total_.bytes_read += sweep.bytes_read;
  recent_weight_ = recent_weight_ * kMemory + 1;
  recent_seconds_ = recent_seconds_ * kMemory + SecondsOf(sweep.wall_ns);
  recent_generated_ = recent_generated_ * kMemory + static_cast<double>(sweep.generated_tokens);
  recent_bytes_ = recent_bytes_ * kMemory + static_cast<double>(sweep.bytes_read);
}

double BatchMeter::tokens_per_minute() const {
  return 60.0 * Ratio(static_cast<double>(total_.generated_tokens), SecondsOf(total_.wall_ns));
}

double BatchMeter::tokens_per_minute_now() const { return 60.0 * Ratio(recent_generated_, recent_seconds_); }

double BatchMeter::read_gbps() const { return Ratio(recent_bytes_, recent_seconds_) / 1e9; }

double BatchMeter::SecondsFor(double generated_tokens, double prompt_tokens) const {
  if (total_.generated_tokens == 0) return -1;
  // Prompts ride along: what they cost is in the time of the answers, in proportion.
  const double prompts_per_token =
      Ratio(static_cast<double>(total_.prompt_tokens), static_cast<double>(total_.generated_tokens));
  const double by_answers = Ratio(generated_tokens, static_cast<double>(total_.generated_tokens));
  const double by_prompts =
      prompts_per_token > 0 ? Ratio(prompt_tokens, static_cast<double>(total_.prompt_tokens)) : 0.0;
  return SecondsOf(total_.wall_ns) * std::max(by_answers, by_prompts);
}

}  // namespace sluice
