// What the commands share: options, messages, exit status, progress.
#ifndef SLUICE_SRC_CLI_COMMON_H_
#define SLUICE_SRC_CLI_COMMON_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "src/engine/engine.h"
#include "src/engine/stats.h"
#include "src/text/tokenizer.h"
#include "storage/model_files.h"

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
  std::string progress = "auto";
  std::string stats = "text";
  int threads = 0;
  int64_t chunk_rows = 0;
  bool quiet = false;
};

// -m and --quiet/--progress.
void AddModelOption(CLI::App* app, CommonOptions* options);
// --ram, --threads, --io, --compute, --kernels, --prompt-chunk.
void AddEngineOptions(CLI::App* app, CommonOptions* options);
void AddStatsOption(CLI::App* app, CommonOptions* options);

// "512M", "16G", "16GiB" or a number of bytes; G and GiB are both 2^30.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);
absl::StatusOr<std::vector<int32_t>> ParseTokenList(absl::string_view text);
// "-" is standard input.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);
// A list of token id lists.
absl::StatusOr<std::vector<std::vector<int32_t>>> ReadTokenLists(const std::string& path);

// Engine options from the command line; shapes of the sweep are the caller's.
absl::StatusOr<EngineOptions> MakeEngineOptions(const CommonOptions& options);

// Says "loading" and "prompt" on stderr, on a terminal or when told to.
class Progress {
 public:
  explicit Progress(const CommonOptions& options);
  ~Progress() { Clear(); }
  void Show(absl::string_view what, uint64_t done, uint64_t total);
  void Clear();

 private:
  bool enabled_;
  bool shown_ = false;
  int64_t last_ns_ = 0;
};

// Stats as --stats asks: nothing, text or one JSON line on stderr.
void PrintStats(const CommonOptions& options, const Engine& engine, const RunTimeline& timeline);

// Raised by Ctrl-C once InstallInterruptHandler was called.
const std::atomic<bool>* InterruptFlag();
void InstallInterruptHandler();

inline constexpr int kExitInterrupted = 130;

// Prints one line on stderr for an error and gives the exit status.
int ExitStatus(const absl::Status& status);

// Each command adds itself; its callback returns a Status.
struct Command {
  CLI::App* app;
  std::function<absl::Status()> run;
};
Command AddRunCommand(CLI::App* app);
Command AddLogitsCommand(CLI::App* app);
Command AddPerplexityCommand(CLI::App* app);
Command AddTokenizeCommand(CLI::App* app);
Command AddDetokenizeCommand(CLI::App* app);
Command AddInspectCommand(CLI::App* app);

}  // namespace sluice

#endif  // SLUICE_SRC_CLI_COMMON_H_
