// How many rows of prompts a sweep can carry for nothing.
//
// A sweep that waits for the drive computes meanwhile; rows of prompts fill that
// time. Both sides are measured: what a sweep of so many rows computes is taken
// as a line, cost = fixed + rows x slope, fitted to the sweeps so far with the
// old ones forgotten, and its reads take what the last ones took. One thread.
//
// At the end of a job filling gaps is not enough: prompts that are whole late are
// followed by sweeps of ever fewer rows, which read nearly as much as full ones.
#ifndef SLUICE_SRC_BATCH_PROMPT_BALANCE_H_
#define SLUICE_SRC_BATCH_PROMPT_BALANCE_H_

#include <cstdint>

namespace sluice {

class PromptBalance {
 public:
  struct Sweep {
    int64_t rows = 0;
    int64_t compute_ns = 0;  // the sweep without its stalls
    int64_t read_ns = 0;     // time in which the drive was busy
  };

  // Rows that a sweep takes at least: prompts go on where computing is the limit.
  static constexpr int64_t kFewestRows = 64;

  void Observe(const Sweep& sweep);
  // Prompt rows for a sweep that carries `other_rows` besides. Nothing to hide
  // behind, nothing measured: no bound.
  int64_t RowsFor(int64_t other_rows) const;

 private:
  double sweeps_ = 0;  // weights, and sums with them
  double rows_ = 0;
  double rows_squared_ = 0;
  double compute_ns_ = 0;
  double rows_compute_ns_ = 0;
  double read_ns_ = 0;  // of a sweep, averaged
};

// What is left of a job where nothing waits for room any more. A sweep gives each
// document whose prompt is whole one token.
struct LastRows {
  int64_t prompt_rows = 0;     // not computed yet
  int64_t prompt_tokens = 0;   // of the longest answer to one of these prompts
  int64_t running_tokens = 0;  // of the longest answer under way
};

// Prompt rows for each sweep from now on with which no answer to a prompt outlasts
// those under way, where that can be; else all of them. A sweep saved is worth more
// than the gap beside its reads that one prompt less would have filled.
int64_t RowsToEndTogether(const LastRows& last);

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_PROMPT_BALANCE_H_
