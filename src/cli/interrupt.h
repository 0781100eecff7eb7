// Ctrl-C and SIGTERM.
#ifndef SLUICE_SRC_CLI_INTERRUPT_H_
#define SLUICE_SRC_CLI_INTERRUPT_H_

#include <atomic>

namespace sluice {

inline constexpr int kExitInterrupted = 130;

// From here on an interrupt ends the process at once with kExitInterrupted. A
// limit on the size of files (SIGXFSZ) is left to the write that meets it.
void InstallInterruptHandler();

// From here on the first interrupt raises the flag, for sweeps to stop at, and
// the second ends the process.
void WatchInterrupt();
const std::atomic<bool>* InterruptFlag();

// From here on the process has a second to end by itself, then it ends with
// kExitInterrupted: an engine waits for its reads, and a drive may stall.
void LeaveSoon();

// Raises the flag from within, e.g. when results can no longer be written.
void RequestStop();

}  // namespace sluice

#endif  // SLUICE_SRC_CLI_INTERRUPT_H_
