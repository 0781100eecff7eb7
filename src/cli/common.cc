#include "src/cli/common.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "src/cli/inputs.h"
#include "src/cli/interrupt.h"
#include "src/cli/mapped_fault.h"
#include "src/cli/read_patterns.h"

namespace sluice {

IoBackend BackendOf(const std::string& name) {
  if (name == "uring") return IoBackend::kUring;
  if (name == "pread") return IoBackend::kPread;
  return name == "mmap" ? IoBackend::kMmap : IoBackend::kAuto;
}

void AddModelOption(CLI::App* app, CommonOptions* options) {
  app->add_option("-m,--model", options->model, "GGUF file, first shard of a split set, or folder with one set")
      ->required();
  AddProgressOptions(app, options);
}

void AddProgressOptions(CLI::App* app, CommonOptions* options) {
  app->add_option("--progress", options->progress, "show progress on stderr")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  app->add_flag("--quiet", options->quiet, "no progress and no text statistics");
}

void AddEngineOptions(CLI::App* app, CommonOptions* options) {
  app->add_option("--ram", options->ram,
                  "memory budget of the whole process, e.g. 512M or 16G (default: what the machine can spare)");
  app->add_option("--threads", options->threads, "computing threads (default: one per core)")
      ->check(CLI::Range(1, 1024));
  app->add_option("--io", options->io, "how to read the model")
      ->check(CLI::IsMember({"auto", "uring", "pread", "mmap"}))
      ->capture_default_str();
  app->add_option("--mirror", options->mirror,
                  "a second copy of the model, on another drive: reads are spread over both");
  app->add_option("--compute", options->compute, "fast, or the slow float32 reference path")
      ->check(CLI::IsMember({"fast", "float"}))
      ->capture_default_str();
  app->add_option("--kv", options->kv, "type of the KV cache; --compute float keeps it in float32")
      ->check(CLI::IsMember({"f16", "q8_0"}))
      ->capture_default_str();
  app->add_option("--kernels", options->kernels,
                  "force a kernel set: portable, avx2, avx512, avx512_vbmi, neon, neon_i8mm (default: the best)");
  app->add_option("--prompt-chunk", options->chunk_rows, "at most this many prompt tokens of a sequence in one sweep")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
}

void AddStatsOption(CLI::App* app, CommonOptions* options) {
  app->add_option("--stats", options->stats, "statistics on stderr at the end")
      ->check(CLI::IsMember({"none", "text", "json"}))
      ->capture_default_str();
}

Progress::When ProgressOf(const CommonOptions& options) {
  if (options.quiet || options.progress == "never") return Progress::When::kNever;
  return options.progress == "always" ? Progress::When::kAlways : Progress::When::kOnTerminal;
}

absl::StatusOr<EngineOptions> MakeEngineOptions(const CommonOptions& options, Progress* progress) {
  EngineOptions engine;
  if (!options.ram.empty()) {
    absl::StatusOr<uint64_t> ram_bytes = ParseSize(options.ram);
    if (!ram_bytes.ok()) return absl::InvalidArgumentError(absl::StrCat("--ram: ", ram_bytes.status().message()));
    engine.ram_bytes = *ram_bytes;
  }
  engine.threads = options.threads;
  engine.io = BackendOf(options.io);
  if (engine.io == IoBackend::kMmap) ExplainMappedFaults(options.model);
  engine.mirror = options.mirror;
  engine.compute = options.compute == "float" ? ComputeMode::kFloat : ComputeMode::kFast;
  engine.kernel_set = options.kernels;
  engine.kv_type = options.kv == "q8_0" ? KvType::kQ8_0 : KvType::kF16;
  engine.stop = InterruptFlag();
  engine.choose_pattern = ReadPatternChooser(progress);
  engine.on_plan = [progress](const MemoryPlan& plan) { progress->Say(plan.ToText()); };
  engine.load_progress = [progress](uint64_t done, uint64_t total) { progress->Show("loading", done, total); };
  return engine;
}

void PrintStats(const CommonOptions& options, const Engine& engine, const RunTimeline& timeline) {
  if (options.stats == "json") {
    absl::FPrintF(stderr, "%s\n", JsonLine(StatsJson(engine, timeline)));
  } else if (options.stats == "text" && !options.quiet) {
    absl::FPrintF(stderr, "%s\n", StatsText(engine, timeline));
  }
}

std::string JsonLine(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string OneLine(std::string text) {
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return text;
}

int ExitStatus(const absl::Status& status) {
  if (status.ok()) return 0;
  if (absl::IsCancelled(status)) return kExitInterrupted;
  absl::FPrintF(stderr, "sluice: %s\n", OneLine(std::string(status.message())));
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

absl::Status FlushResults() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot write to standard output", errno != 0 ? absl::StrCat(": ", std::strerror(errno)) : ""));
}

}  // namespace sluice
