// sluice: giant mixture-of-experts models on small machines.
#include <algorithm>
#include <exception>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "src/cli/common.h"
#include "src/cli/interrupt.h"
#include "src/engine/heap.h"

namespace sluice {
namespace {

constexpr char kVersion[] = SLUICE_VERSION;

// CLI11 calls an unknown command a missing one.
absl::Status CheckCommandName(const std::vector<Command>& commands, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return absl::OkStatus();
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.app->get_name());
  if (std::find(names.begin(), names.end(), argv[1]) != names.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("unknown command \"", argv[1], "\"; commands are ", absl::StrJoin(names, ", ")));
}

absl::Status UsageError(absl::string_view message) {
  std::string text(message);
  if (text.size() > 1 && absl::ascii_islower(text[1])) text[0] = absl::ascii_tolower(text[0]);
  return absl::InvalidArgumentError(absl::StrCat(text, " (see sluice --help)"));
}

// Nothing of ours throws, but the standard library does when memory or threads
// run out.
absl::Status RunGuarded(const Command& command) {
  try {
    return command.run();
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(absl::StrCat("the system refuses memory or threads: ", error.what()));
  }
}

absl::Status RunChosen(const std::vector<Command>& commands) {
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    absl::Status status = RunGuarded(command);
    status.Update(FlushResults());
    return status;
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  KeepHeapTight();
  InstallInterruptHandler();
  CLI::App app("sluice runs giant mixture-of-experts language models in a small memory budget.", "sluice");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  const std::vector<Command> commands = {
      AddRunCommand(&app),      AddBatchCommand(&app),      AddLogitsCommand(&app),  AddPerplexityCommand(&app),
      AddTokenizeCommand(&app), AddDetokenizeCommand(&app), AddInspectCommand(&app), AddSynthCommand(&app),
      AddReplayCommand(&app),   AddProbeCommand(&app),
  };
  const absl::Status named = CheckCommandName(commands, argc, argv);
  if (!named.ok()) return ExitStatus(named);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    app.exit(success);
    return ExitStatus(FlushResults());
  } catch (const CLI::ParseError& error) {
    return ExitStatus(UsageError(error.what()));
  }
  return ExitStatus(RunChosen(commands));
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::Main(argc, argv); }
