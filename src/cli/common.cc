#include "src/cli/common.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

// A signal handler can reach nothing else.
std::atomic<bool> interrupted{false};

extern "C" void OnInterrupt(int) { interrupted.store(true, std::memory_order_relaxed); }

absl::Status FileError(absl::string_view what, const std::string& path) {
  return absl::NotFoundError(absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

IoBackend BackendOf(const std::string& name) {
  if (name == "uring") return IoBackend::kUring;
  if (name == "pread") return IoBackend::kPread;
  return name == "mmap" ? IoBackend::kMmap : IoBackend::kAuto;
}

}  // namespace

void AddModelOption(CLI::App* app, CommonOptions* options) {
  app->add_option("-m,--model", options->model, "GGUF file, first shard of a split set, or folder with one set")
      ->required();
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
  app->add_option("--compute", options->compute, "fast, or the slow float32 reference path")
      ->check(CLI::IsMember({"fast", "float"}))
      ->capture_default_str();
  app->add_option("--kernels", options->kernels, "force a kernel set: portable, avx2, avx512 (default: the best)");
  app->add_option("--prompt-chunk", options->chunk_rows, "at most this many prompt tokens of a sequence in one sweep")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
}

void AddStatsOption(CLI::App* app, CommonOptions* options) {
  app->add_option("--stats", options->stats, "statistics on stderr at the end")
      ->check(CLI::IsMember({"none", "text", "json"}))
      ->capture_default_str();
}

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && absl::ascii_isdigit(text[digits])) ++digits;
  uint64_t value = 0;
  const bool has_number = absl::SimpleAtoi(text.substr(0, digits), &value);
  std::string unit = absl::AsciiStrToUpper(text.substr(digits));
  if (absl::EndsWith(unit, "IB")) unit.resize(unit.size() - 2);
  const std::pair<absl::string_view, int> units[] = {{"", 0}, {"B", 0}, {"K", 10}, {"M", 20}, {"G", 30}, {"T", 40}};
  for (const auto& [name, shift] : units) {
    if (has_number && value > 0 && unit == name && value <= (uint64_t{1} << 50) >> shift) return value << shift;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not a size; write a number with K, M or G, e.g. 512M or 16G"));
}

absl::StatusOr<std::vector<int32_t>> ParseTokenList(absl::string_view text) {
  std::vector<int32_t> tokens;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    int32_t token = 0;
    if (!absl::SimpleAtoi(part, &token)) {
      return absl::InvalidArgumentError(absl::StrCat("\"", part, "\" is not a token id; write --tokens 1,2,3"));
    }
    tokens.push_back(token);
  }
  return tokens;
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return FileError("open", path);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (file.bad() || errno == EISDIR) return FileError("read", path);
  return text;
}

absl::StatusOr<std::vector<std::vector<int32_t>>> ReadTokenLists(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const absl::Status malformed =
      absl::DataLossError(absl::StrCat(path, " is not a JSON list of token id lists, e.g. [[1, 2], [3]]"));
  if (!json.is_array()) return malformed;
  std::vector<std::vector<int32_t>> lists;
  for (const nlohmann::json& list : json) {
    if (!list.is_array() || list.empty()) return malformed;
    std::vector<int32_t>& tokens = lists.emplace_back();
    for (const nlohmann::json& token : list) {
      if (!token.is_number_integer() || token < 0 || token > INT32_MAX) return malformed;
      tokens.push_back(token.get<int32_t>());
    }
  }
  return lists;
}

absl::StatusOr<EngineOptions> MakeEngineOptions(const CommonOptions& options) {
  EngineOptions engine;
  if (!options.ram.empty()) {
    absl::StatusOr<uint64_t> ram_bytes = ParseSize(options.ram);
    if (!ram_bytes.ok()) return absl::InvalidArgumentError(absl::StrCat("--ram: ", ram_bytes.status().message()));
    engine.ram_bytes = *ram_bytes;
  }
  engine.threads = options.threads;
  engine.io = BackendOf(options.io);
  engine.compute = options.compute == "float" ? ComputeMode::kFloat : ComputeMode::kFast;
  engine.kernel_set = options.kernels;
  engine.kv_type = options.kv == "q8_0" ? KvType::kQ8_0 : KvType::kF16;
  engine.stop = InterruptFlag();
  return engine;
}

Progress::Progress(const CommonOptions& options)
    : enabled_(!options.quiet && options.progress != "never" &&
               (options.progress == "always" || isatty(STDERR_FILENO) != 0)) {}

void Progress::Show(absl::string_view what, uint64_t done, uint64_t total) {
  constexpr int64_t kIntervalNs = 100'000'000;
  const int64_t now_ns = NowNs();
  if (!enabled_ || (done < total && now_ns - last_ns_ < kIntervalNs)) return;
  last_ns_ = now_ns;
  shown_ = true;
  absl::FPrintF(stderr, "\r%s %d %%\x1b[K", what, total == 0 ? 100 : done * 100 / total);
}

void Progress::Clear() {
  if (shown_) absl::FPrintF(stderr, "\r\x1b[K");
  shown_ = false;
}

void PrintStats(const CommonOptions& options, const Engine& engine, const RunTimeline& timeline) {
  if (options.stats == "json") {
    const std::string line = StatsJson(engine, timeline).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    absl::FPrintF(stderr, "%s\n", line);
  } else if (options.stats == "text" && !options.quiet) {
    absl::FPrintF(stderr, "%s\n", StatsText(engine, timeline));
  }
}

const std::atomic<bool>* InterruptFlag() { return &interrupted; }

void InstallInterruptHandler() {
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  // A second Ctrl-C kills.
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int ExitStatus(const absl::Status& status) {
  if (status.ok()) return 0;
  if (absl::IsCancelled(status)) return kExitInterrupted;
  std::string message(status.message());
  for (char& c : message) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  absl::FPrintF(stderr, "sluice: %s\n", message);
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

}  // namespace sluice
