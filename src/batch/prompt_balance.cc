#include "src/batch/prompt_balance.h"

#include <algorithm>
#include <limits>

#include "base/checked_math.h"

namespace sluice {
namespace {

// What a sweep counts when the next one is over.
constexpr double kMemory = 0.8;
// Least spread of rows, relative to their mean, that a slope can be read from.
constexpr double kLeastSpread = 0.05;

}  // namespace

void PromptBalance::Observe(const Sweep& sweep) {
  const double rows = static_cast<double>(sweep.rows), compute_ns = static_cast<double>(sweep.compute_ns);
  read_ns_ = (read_ns_ * sweeps_ * kMemory + static_cast<double>(sweep.read_ns)) / (sweeps_ * kMemory + 1);
  sweeps_ = sweeps_ * kMemory + 1;
  rows_ = rows_ * kMemory + rows;
  rows_squared_ = rows_squared_ * kMemory + rows * rows;
  compute_ns_ = compute_ns_ * kMemory + compute_ns;
  rows_compute_ns_ = rows_compute_ns_ * kMemory + rows * compute_ns;
}

int64_t PromptBalance::RowsFor(int64_t other_rows) const {
  if (other_rows == 0 || sweeps_ == 0) return std::numeric_limits<int64_t>::max();
  const double mean_rows = rows_ / sweeps_, mean_ns = compute_ns_ / sweeps_;
  const double variance = rows_squared_ / sweeps_ - mean_rows * mean_rows;
  double slope_ns = mean_ns / mean_rows;  // all of the cost put on rows: too few rather than too many
  if (variance > kLeastSpread * kLeastSpread * mean_rows * mean_rows) {
    const double fitted_ns = (rows_compute_ns_ / sweeps_ - mean_rows * mean_ns) / variance;
    if (fitted_ns > 0) slope_ns = std::min(slope_ns, fitted_ns);
  }
  if (slope_ns <= 0) return std::numeric_limits<int64_t>::max();
  const double fixed_ns = std::max(0.0, mean_ns - slope_ns * mean_rows);
  const double hidden_rows = (read_ns_ - fixed_ns) / slope_ns - static_cast<double>(other_rows);
  return static_cast<int64_t>(std::clamp(hidden_rows, static_cast<double>(kFewestRows), 1e9));
}

int64_t RowsToEndTogether(const LastRows& last) {
  return CeilDiv(last.prompt_rows, std::max<int64_t>(1, last.running_tokens - last.prompt_tokens + 1));
}

}  // namespace sluice
