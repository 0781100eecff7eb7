// What the commands share: options, messages, exit status.
#ifndef SLUICE_SRC_CLI_COMMON_H_
#define SLUICE_SRC_CLI_COMMON_H_

#include <cstdint>
#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "src/cli/progress.h"
#include "src/engine/engine.h"
#include "src/engine/stats.h"

namespace sluice {

// The context that needs none: as long as the work at hand.
inline constexpr int64_t kContextAsNeeded = 0;

struct CommonOptions {
  std::string model;
  std::string ram;
  std::string io = "auto";
  std::string compute = "fast";
  std::string kv = "f16";
  std::string kernels;
  std::string mirror;
  std::string progress = "auto";
  std::string stats = "text";
  int threads = 0;
  int64_t chunk_rows = 0;
  bool quiet = false;
};

// -m and --quiet/--progress.
void AddModelOption(CLI::App* app, CommonOptions* options);
// --quiet/--progress alone.
void AddProgressOptions(CLI::App* app, CommonOptions* options);
// --ram, --threads, --io, --mirror, --compute, --kernels, --prompt-chunk.
void AddEngineOptions(CLI::App* app, CommonOptions* options);
void AddStatsOption(CLI::App* app, CommonOptions* options);

// What --io names.
IoBackend BackendOf(const std::string& name);

Progress::When ProgressOf(const CommonOptions& options);

// Engine options from the command line, loading shown by `progress`, stopped by
// Ctrl-C; the shapes of sweeps are the caller's.
absl::StatusOr<EngineOptions> MakeEngineOptions(const CommonOptions& options, Progress* progress);

// Stats as --stats asks: nothing, text or one JSON line on stderr.
void PrintStats(const CommonOptions& options, const Engine& engine, const RunTimeline& timeline);

// Without what would steer a terminal or end the line: names from files are shown.
std::string OneLine(std::string text);

// One line, whatever the texts in it hold: they come from files.
std::string JsonLine(const nlohmann::ordered_json& json);

// Prints one line on stderr for an error and gives the exit status.
int ExitStatus(const absl::Status& status);

// Results that cannot be written are an error, found at the latest here.
absl::Status FlushResults();

// Each command adds itself; its callback returns a Status.
struct Command {
  CLI::App* app;
  std::function<absl::Status()> run;
};
Command AddRunCommand(CLI::App* app);
Command AddBatchCommand(CLI::App* app);
Command AddLogitsCommand(CLI::App* app);
Command AddPerplexityCommand(CLI::App* app);
Command AddTokenizeCommand(CLI::App* app);
Command AddDetokenizeCommand(CLI::App* app);
Command AddInspectCommand(CLI::App* app);
Command AddSynthCommand(CLI::App* app);
Command AddReplayCommand(CLI::App* app);
Command AddProbeCommand(CLI::App* app);

}  // namespace sluice

#endif  // SLUICE_SRC_CLI_COMMON_H_
