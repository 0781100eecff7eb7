// sluice logits: raw float32 logits of given token lists.
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/cli/inputs.h"
#include "src/cli/interrupt.h"
#include "src/engine/opened_model.h"
#include "src/engine/prompt_scheduler.h"
#include "storage/file_writer.h"

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

// Rows of a float32 matrix, written wherever they belong; the file appears when
// all are there.
class RowFile {
 public:
  static absl::StatusOr<RowFile> Create(const std::string& path) {
    RowFile file;
    ASSIGN_OR_RETURN(file.writer_, FileWriter::CreateOrOpen(path));
    return file;
  }

  // After the first error, which Close reports, nothing is written any more.
  bool Write(int64_t row, absl::Span<const float> values) {
    const uint64_t bytes = values.size() * sizeof(float);
    if (!failed()) {
      status_ = writer_.Write(static_cast<uint64_t>(row) * bytes,
                              absl::string_view(reinterpret_cast<const char*>(values.data()), bytes));
    }
    return !failed();
  }

  absl::Status Close() {
    RETURN_IF_ERROR(status_);
    return writer_.Commit();
  }

  bool failed() const { return !status_.ok(); }

 private:
  FileWriter writer_;
  absl::Status status_;
};

struct Work {
  std::vector<PromptJob> jobs;
  std::vector<int64_t> first_row;  // in the output; -1 for companions
  int64_t rows = 0;
  int64_t longest = 0;
  uint64_t tokens = 0;
  int companions = 0;

  void Add(std::vector<int32_t> list, bool wants_last, bool wants_all) {
    longest = std::max<int64_t>(longest, list.size());
    tokens += list.size();
    jobs.push_back({std::move(list), wants_last, wants_all});
  }
};

// Companions come first, so that they share the sweeps from the beginning.
absl::StatusOr<Work> ReadWork(const LogitsOptions& options) {
  Work work;
  if (!options.batch_with.empty()) {
    ASSIGN_OR_RETURN(std::vector<std::vector<int32_t>> companions, ReadTokenLists(options.batch_with));
    for (std::vector<int32_t>& list : companions) work.Add(std::move(list), /*wants_last=*/false, /*wants_all=*/false);
    work.companions = static_cast<int>(companions.size());
    work.first_row.assign(companions.size(), -1);
  }
  ASSIGN_OR_RETURN(std::vector<std::vector<int32_t>> prompts, ReadTokenLists(options.tokens_file));
  for (std::vector<int32_t>& list : prompts) {
    work.first_row.push_back(work.rows);
    work.rows += options.all_positions ? static_cast<int64_t>(list.size()) : 1;
    work.Add(std::move(list), /*wants_last=*/true, options.all_positions);
  }
  return work;
}

// Shapes of the sweeps. Companions must share them; of the prompts fewer may
// run at once.
absl::Status SetShapes(const LogitsOptions& options, const Work& work, EngineOptions* engine) {
  const int prompts = static_cast<int>(work.jobs.size()) - work.companions;
  const int sequences = std::max(1, work.companions + std::min(prompts, kSequences));
  engine->shapes = HalvedShapes(sequences, work.companions + 1);
  engine->context = options.context == kContextAsNeeded ? std::max<int64_t>(work.longest, 1) : options.context;
  if (work.longest > engine->context) {
    return absl::InvalidArgumentError(absl::StrCat("a prompt of ", work.longest, " tokens does not fit the context of ",
                                                   engine->context, " tokens; give a larger --ctx"));
  }
  const int64_t chunk = options.common.chunk_rows > 0 ? options.common.chunk_rows : work.longest;
  engine->sweep_rows = std::max<int64_t>(1, std::min<int64_t>(chunk * sequences, work.tokens));
  engine->logits_rows = options.all_positions ? engine->sweep_rows : sequences;
  return absl::OkStatus();
}

absl::Status WriteLogits(const LogitsOptions& options, const Work& work, Engine* engine, Progress* progress) {
  ASSIGN_OR_RETURN(RowFile output, RowFile::Create(options.output));
  int64_t rows_done = 0;
  PromptScheduler scheduler(engine, options.common.chunk_rows);
  const absl::Status status =
      scheduler.Run(work.jobs, [&](size_t job, int64_t position, absl::Span<const float> logits) {
        // Without a place for the results there is no point in going on.
        if (!output.Write(work.first_row[job] + (options.all_positions ? position : 0), logits)) RequestStop();
        progress->Show("logits", ++rows_done, work.rows);
      });
  if (!status.ok() && !output.failed()) return status;
  return output.Close();
}

absl::Status RunLogits(const LogitsOptions& options) {
  ASSIGN_OR_RETURN(const Work work, ReadWork(options));
  Progress progress(ProgressOf(options.common));
  ASSIGN_OR_RETURN(EngineOptions engine_options, MakeEngineOptions(options.common, &progress));
  RETURN_IF_ERROR(SetShapes(options, work, &engine_options));
  ASSIGN_OR_RETURN(OpenedModel model, OpenModel(options.common.model, /*with_tokenizer=*/false));
  for (const PromptJob& job : work.jobs) RETURN_IF_ERROR(CheckTokens(job.tokens, model.config.vocab));
  model.CountText(0, work.tokens);
  engine_options.caller = model.caller;
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(model.files), engine_options));
  WatchInterrupt();

  RunTimeline timeline;
  timeline.begin = engine->counters();
  timeline.load_bytes = timeline.begin.io.bytes_read;
  const absl::Status status = WriteLogits(options, work, engine.get(), &progress);
  if (absl::IsCancelled(status)) LeaveSoon();
  RETURN_IF_ERROR(status);
  timeline.prompt_end = timeline.end = engine->counters();
  timeline.prompt_tokens = work.tokens;
  progress.Clear();
  nlohmann::ordered_json result = {{"rows", work.rows}, {"vocab", engine->config().vocab}};
  result["stats"] = StatsJson(*engine, timeline);
  absl::PrintF("%s\n", JsonLine(result));
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
  return {command, [options] { return RunLogits(*options); }};
}

}  // namespace sluice
