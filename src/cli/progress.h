// Says on stderr how far a long step has come.
#ifndef SLUICE_SRC_CLI_PROGRESS_H_
#define SLUICE_SRC_CLI_PROGRESS_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace sluice {

class Progress {
 public:
  enum class When { kNever, kOnTerminal, kAlways };

  explicit Progress(When when);
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Not more often than is pleasant to look at, but always when all is done. On
  // a terminal one line that is written over, elsewhere a line each.
  void Show(absl::string_view what, uint64_t done, uint64_t total);
  // The same for any text of one line; `last` is shown whenever it comes.
  void ShowText(absl::string_view text, bool last = false);
  // Lines that stay, each ended by a newline.
  void Say(absl::string_view lines);
  // Takes the line off the terminal, for output that follows.
  void Clear();

 private:
  bool Due(bool last);
  void Print(absl::string_view text);

  const bool on_terminal_;
  const bool enabled_;
  bool shown_ = false;
  int64_t next_ns_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_SRC_CLI_PROGRESS_H_
