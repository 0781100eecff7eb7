// Ctrl-C and SIGTERM.
#ifndef SLUICE_SRC_CLI_INTERRUPT_H_
#define SLUICE_SRC_CLI_INTERRUPT_H_

#include <atomic>

namespace sluice {

inline constexpr int kExitInterrupted = 130;

// From here on an interrupt ends the process at once with kExitInterrupted.
void InstallInterruptHandler();

// From here on the first interrupt raises the flag, for sweeps to stop at, and
// the second ends the process.
void WatchInterrupt();
const std::atomic<bool>* InterruptFlag();

// Raises the flag from within, e.g. when results can no longer be written.
void RequestStop();

}  // namespace sluice

#endif  // SLUICE_SRC_CLI_INTERRUPT_H_
