// sluice logits: raw float32 logits of given token lists.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/engine/prompt_scheduler.h"

namespace sluice {
namespace {

// Prompts that share sweeps, besides those of --batch-with.
constexpr int kSequences = 8;

struct LogitsOptions {
  CommonOptions common;
  std::string tokens_file, output, batch_with;
  int64_t context = kContextAsNeeded;
  bool all_positions = false;
};

// Rows of a float32 matrix, written wherever they belong.
class RowFile {
 public:
  static absl::StatusOr<RowFile> Create(const std::string& path) {
    RowFile file;
    file.path_ = path;
    file.stream_.reset(std::fopen(path.c_str(), "wb"));
    if (file.stream_ == nullptr) return file.Error("create");
    return file;
  }

  void Write(int64_t row, absl::Span<const float> values) {
    const off_t offset = static_cast<off_t>(row * values.size() * sizeof(float));
    failed_ = failed_ || fseeko(stream_.get(), offset, SEEK_SET) != 0 ||
              std::fwrite(values.data(), sizeof(float), values.size(), stream_.get()) != values.size();
  }

  absl::Status Close() {
    const bool closed = std::fclose(stream_.release()) == 0;
    return failed_ || !closed ? Error("write") : absl::OkStatus();
  }

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  absl::Status Error(absl::string_view what) const {
    return absl::UnavailableError(absl::StrCat("cannot ", what, " ", path_, ": ", std::strerror(errno)));
  }

  std::string path_;
  std::unique_ptr<std::FILE, Closer> stream_;
  bool failed_ = false;
};

struct Work {
  std::vector<PromptJob> jobs;
  std::vector<int64_t> first_row;  // in the output; -1 for companions
  int64_t rows = 0;
  int64_t longest = 0;
  uint64_t tokens = 0;
  int companions = 0;
};

// Companions come first, so that they share the sweeps from the beginning.
absl::StatusOr<Work> ReadWork(const LogitsOptions& options) {
  Work work;
  if (!options.batch_with.empty()) {
    ASSIGN_OR_RETURN(const auto companions, ReadTokenLists(options.batch_with));
    for (const std::vector<int32_t>& tokens : companions) work.jobs.push_back({tokens, /*wants_last=*/false});
    work.companions = static_cast<int>(companions.size());
  }
  work.first_row.assign(work.jobs.size(), -1);
  ASSIGN_OR_RETURN(const auto prompts, ReadTokenLists(options.tokens_file));
  for (const std::vector<int32_t>& tokens : prompts) {
    work.jobs.push_back({tokens, /*wants_last=*/true, options.all_positions});
    work.first_row.push_back(work.rows);
    work.rows += options.all_positions ? static_cast<int64_t>(tokens.size()) : 1;
  }
  for (const PromptJob& job : work.jobs) {
    work.longest = std::max<int64_t>(work.longest, job.tokens.size());
    work.tokens += job.tokens.size();
  }
  return work;
}

absl::StatusOr<EngineOptions> OptionsFor(const LogitsOptions& options, const Work& work) {
  ASSIGN_OR_RETURN(EngineOptions engine, MakeEngineOptions(options.common));
  const int prompts = static_cast<int>(work.jobs.size()) - work.companions;
  engine.sequences = std::max(1, work.companions + std::min(prompts, kSequences));
  engine.context = options.context == kContextAsNeeded ? std::max<int64_t>(work.longest, 1) : options.context;
  if (work.longest > engine.context) {
    return absl::InvalidArgumentError(absl::StrCat("a prompt of ", work.longest, " tokens does not fit the context of ",
                                                   engine.context, "; give a larger --ctx"));
  }
  const int64_t chunk = options.common.chunk_rows > 0 ? options.common.chunk_rows : work.longest;
  engine.sweep_rows = std::max<int64_t>(1, std::min<int64_t>(chunk * engine.sequences, work.tokens));
  engine.logits_rows = options.all_positions ? engine.sweep_rows : engine.sequences;
  return engine;
}

absl::Status RunLogits(const LogitsOptions& options) {
  ASSIGN_OR_RETURN(const Work work, ReadWork(options));
  ASSIGN_OR_RETURN(EngineOptions engine_options, OptionsFor(options, work));
  ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(options.common.model));
  Progress progress(options.common);
  engine_options.load_progress = [&](uint64_t done, uint64_t total) { progress.Show("loading", done, total); };
  InstallInterruptHandler();
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(files), engine_options));
  for (const PromptJob& job : work.jobs) RETURN_IF_ERROR(CheckTokens(job.tokens, engine->config().vocab));
  ASSIGN_OR_RETURN(RowFile output, RowFile::Create(options.output));

  RunTimeline timeline;
  timeline.begin = engine->counters();
  int64_t rows_done = 0;
  PromptScheduler scheduler(engine.get(), options.common.chunk_rows);
  RETURN_IF_ERROR(scheduler.Run(work.jobs, [&](size_t job, int64_t position, absl::Span<const float> logits) {
    output.Write(work.first_row[job] + (options.all_positions ? position : 0), logits);
    progress.Show("logits", ++rows_done, work.rows);
  }));
  RETURN_IF_ERROR(output.Close());
  timeline.prompt_end = timeline.end = engine->counters();
  timeline.prompt_tokens = work.tokens;
  progress.Clear();
  nlohmann::ordered_json result = {{"rows", work.rows}, {"vocab", engine->config().vocab}};
  result["stats"] = StatsJson(*engine, timeline);
  absl::PrintF("%s\n", result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  return absl::OkStatus();
}

}  // namespace

Command AddLogitsCommand(CLI::App* app) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command = app->add_subcommand("logits", "write raw logits of token lists");
  AddModelOption(command, &options->common);
  AddEngineOptions(command, &options->common);
  command->add_option("--tokens-file", options->tokens_file, "JSON list of token id lists")->required();
  command->add_option("-o,--output", options->output, "file for the float32 rows")->required();
  command->add_flag("--all-positions", options->all_positions, "logits of every position, not of the last");
  command->add_option("--batch-with", options->batch_with, "more token id lists to share the sweeps with");
  command->add_option("--ctx", options->context, "context to plan for (default: the longest list)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command->add_option("--kv", options->common.kv, "type of the KV cache")
      ->check(CLI::IsMember({"f16", "q8_0"}))
      ->capture_default_str();
  return {command, [options] { return RunLogits(*options); }};
}

}  // namespace sluice
