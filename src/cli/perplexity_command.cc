// sluice perplexity: mean negative log-likelihood of a text.
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/engine/prompt_scheduler.h"

namespace sluice {
namespace {

constexpr int kWindowsPerSweep = 8;

struct PerplexityOptions {
  CommonOptions common;
  std::string file;
  int64_t context = 512;
};

// The natural logarithm of the softmax probability of `token`, in double.
double LogProbability(absl::Span<const float> logits, int32_t token) {
  double maximum = logits[0];
  for (float logit : logits) maximum = std::max<double>(maximum, logit);
  double sum = 0.0;
  for (float logit : logits) sum += std::exp(logit - maximum);
  return logits[token] - maximum - std::log(sum);
}

struct Windows {
  std::vector<PromptJob> jobs;
  bool bos = false;
};

// Windows of ctx - 1 tokens, each after BOS where the model adds one; the rest
// is left out.
absl::StatusOr<Windows> CutWindows(const PerplexityOptions& options, const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(options.file));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(text, ParseSpecial::kNone));
  Windows windows;
  windows.bos = tokenizer.add_bos();
  const size_t length = static_cast<size_t>(options.context - 1);
  for (size_t begin = 0; begin + length <= ids.size(); begin += length) {
    PromptJob job;
    if (windows.bos) job.tokens.push_back(*tokenizer.bos_id());
    job.tokens.insert(job.tokens.end(), ids.begin() + begin, ids.begin() + begin + length);
    job.wants_all = true;
    windows.jobs.push_back(std::move(job));
  }
  if (windows.jobs.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the text has ", ids.size(), " tokens, fewer than one window of ",
                                                   length, "; give a smaller --ctx"));
  }
  return windows;
}

absl::Status RunPerplexity(const PerplexityOptions& options) {
  ASSIGN_OR_RETURN(EngineOptions engine_options, MakeEngineOptions(options.common));
  ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(options.common.model));
  Windows windows;
  {
    ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Create(files.metadata()));
    ASSIGN_OR_RETURN(windows, CutWindows(options, tokenizer));
  }
  engine_options.sequences = std::min<int>(kWindowsPerSweep, static_cast<int>(windows.jobs.size()));
  engine_options.context = options.context;
  engine_options.sweep_rows = engine_options.logits_rows = engine_options.sequences * options.context;
  Progress progress(options.common);
  engine_options.load_progress = [&](uint64_t done, uint64_t total) { progress.Show("loading", done, total); };
  InstallInterruptHandler();
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(files), engine_options));
  for (const PromptJob& job : windows.jobs) RETURN_IF_ERROR(CheckTokens(job.tokens, engine->config().vocab));

  RunTimeline timeline;
  timeline.begin = engine->counters();
  double nll_sum = 0.0;
  uint64_t scored = 0, rows = 0;
  const uint64_t total_rows = windows.jobs.size() * windows.jobs[0].tokens.size();
  PromptScheduler scheduler(engine.get(), options.common.chunk_rows);
  RETURN_IF_ERROR(scheduler.Run(windows.jobs, [&](size_t job, int64_t position, absl::Span<const float> logits) {
    progress.Show("perplexity", ++rows, total_rows);
    const std::vector<int32_t>& tokens = windows.jobs[job].tokens;
    if (position + 1 == static_cast<int64_t>(tokens.size())) return;
    nll_sum -= LogProbability(logits, tokens[position + 1]);
    ++scored;
  }));
  timeline.prompt_end = timeline.end = engine->counters();
  timeline.prompt_tokens = total_rows;
  progress.Clear();
  const double nll = scored == 0 ? 0.0 : nll_sum / static_cast<double>(scored);
  nlohmann::ordered_json result = {{"tokens", scored}, {"windows", windows.jobs.size()}, {"nll", nll}};
  result["perplexity"] = std::exp(nll);
  result["stats"] = StatsJson(*engine, timeline);
  absl::PrintF("%s\n", result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  return absl::OkStatus();
}

}  // namespace

Command AddPerplexityCommand(CLI::App* app) {
  auto options = std::make_shared<PerplexityOptions>();
  CLI::App* command = app->add_subcommand("perplexity", "mean negative log-likelihood of a text");
  AddModelOption(command, &options->common);
  AddEngineOptions(command, &options->common);
  command->add_option("-f,--file", options->file, "the text; - reads standard input")->required();
  command->add_option("--ctx", options->context, "window, BOS included")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--kv", options->common.kv, "type of the KV cache")
      ->check(CLI::IsMember({"f16", "q8_0"}))
      ->capture_default_str();
  return {command, [options] { return RunPerplexity(*options); }};
}

}  // namespace sluice
