#include "src/cli/mapped_fault.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "src/cli/common.h"

namespace sluice {
namespace {

// A signal handler can reach nothing else.
char message[4096];
size_t message_bytes = 0;

extern "C" void OnMappedFault(int) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, message, message_bytes);
  _exit(1);
}

}  // namespace

void ExplainMappedFaults(absl::string_view model) {
  const std::string text = absl::StrCat(
      "sluice: ", OneLine(std::string(model.substr(0, sizeof(message) / 2))),
      " cannot be read where it is mapped: it was cut short or its drive failed; check it, or run with --io auto\n");
  message_bytes = std::min(text.size(), sizeof(message));
  std::memcpy(message, text.data(), message_bytes);
  struct sigaction action = {};
  action.sa_handler = OnMappedFault;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace sluice
