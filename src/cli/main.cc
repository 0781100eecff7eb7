// sluice: giant mixture-of-experts models on small machines.
#include <exception>
#include <vector>

#include "absl/strings/str_format.h"
#include "src/cli/common.h"

namespace sluice {
namespace {

constexpr char kVersion[] = SLUICE_VERSION;

int Main(int argc, char** argv) {
  CLI::App app("sluice runs giant mixture-of-experts language models in a small memory budget.", "sluice");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  const std::vector<Command> commands = {
      AddRunCommand(&app),      AddLogitsCommand(&app),     AddPerplexityCommand(&app),
      AddTokenizeCommand(&app), AddDetokenizeCommand(&app), AddInspectCommand(&app),
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return ExitStatus(absl::InvalidArgumentError(absl::StrCat(error.what(), " (see sluice --help)")));
  }
  for (const Command& command : commands) {
    if (command.app->parsed()) return ExitStatus(command.run());
  }
  return 0;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::Main(argc, argv); }
