#include "src/cli/interrupt.h"

#include <unistd.h>

#include <csignal>

namespace sluice {
namespace {

// A signal handler can reach nothing else.
std::atomic<bool> watched{false};
std::atomic<bool> interrupted{false};

extern "C" void OnInterrupt(int) {
  if (!watched.load() || interrupted.exchange(true)) _exit(kExitInterrupted);
}

extern "C" void OnTimeUp(int) { _exit(kExitInterrupted); }

}  // namespace

void InstallInterruptHandler() {
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = OnTimeUp;
  sigaction(SIGALRM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &action, nullptr);
}

void WatchInterrupt() { watched.store(true); }

const std::atomic<bool>* InterruptFlag() { return &interrupted; }

void LeaveSoon() { alarm(1); }

void RequestStop() { interrupted.store(true); }

}  // namespace sluice
