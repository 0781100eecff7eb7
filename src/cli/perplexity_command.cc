// sluice perplexity: mean negative log-likelihood of a text.
#include <cmath>
#include <memory>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/cli/inputs.h"
#include "src/cli/interrupt.h"
#include "src/engine/opened_model.h"
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

// Windows of ctx - 1 tokens, each after BOS where the model adds one; the rest
// is left out.
absl::StatusOr<std::vector<PromptJob>> CutWindows(const PerplexityOptions& options, OpenedModel* model) {
  const Tokenizer& tokenizer = *model->tokenizer;
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(options.file));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(text, ParseSpecial::kNone));
  model->CountText(text.size(), ids.size());
  RETURN_IF_ERROR(CheckTokens(ids, model->config.vocab));
  const size_t length = static_cast<size_t>(options.context - 1);
  std::vector<PromptJob> windows;
  windows.reserve(ids.size() / length);
  for (size_t begin = 0; begin + length <= ids.size(); begin += length) {
    PromptJob job;
    job.tokens.reserve(length + 1);
    if (tokenizer.add_bos()) job.tokens.push_back(*tokenizer.bos_id());
    job.tokens.insert(job.tokens.end(), ids.begin() + begin, ids.begin() + begin + length);
    job.wants_all = true;
    windows.push_back(std::move(job));
  }
  if (!windows.empty()) return windows;
  return absl::InvalidArgumentError(absl::StrCat("the text has ", ids.size(), " tokens, fewer than one window of ",
                                                 length, "; give a smaller --ctx"));
}

// Summed by window and then in their order: which windows share a sweep depends
// on the budget, and the result must not.
struct Score {
  std::vector<double> nll_by_window;
  uint64_t tokens = 0;

  double MeanNll() const {
    const double sum = std::accumulate(nll_by_window.begin(), nll_by_window.end(), 0.0);
    return tokens == 0 ? 0.0 : sum / static_cast<double>(tokens);
  }
};

absl::Status ScoreWindows(absl::Span<const PromptJob> windows, int64_t chunk_rows, Engine* engine, Progress* progress,
                          Score* score) {
  score->nll_by_window.assign(windows.size(), 0.0);
  uint64_t rows = 0;
  const uint64_t total_rows = windows.size() * windows[0].tokens.size();
  PromptScheduler scheduler(engine, chunk_rows);
  return scheduler.Run(windows, [&](size_t job, int64_t position, absl::Span<const float> logits) {
    progress->Show("perplexity", ++rows, total_rows);
    const std::vector<int32_t>& tokens = windows[job].tokens;
    if (position + 1 == static_cast<int64_t>(tokens.size())) return;
    score->nll_by_window[job] -= LogProbability(logits, tokens[position + 1]);
    ++score->tokens;
  });
}

absl::Status RunPerplexity(const PerplexityOptions& options) {
  Progress progress(ProgressOf(options.common));
  ASSIGN_OR_RETURN(EngineOptions engine_options, MakeEngineOptions(options.common, &progress));
  ASSIGN_OR_RETURN(OpenedModel model, OpenModel(options.common.model, /*with_tokenizer=*/true));
  ASSIGN_OR_RETURN(const std::vector<PromptJob> windows, CutWindows(options, &model));
  const int sequences = static_cast<int>(std::clamp<size_t>(windows.size(), 1, kWindowsPerSweep));
  engine_options.shapes = HalvedShapes(sequences, 1);
  engine_options.context = options.context;
  engine_options.sweep_rows = engine_options.logits_rows = sequences * options.context;
  engine_options.caller = model.caller;
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(model.files), engine_options));
  WatchInterrupt();

  RunTimeline timeline;
  timeline.begin = engine->counters();
  timeline.load_bytes = timeline.begin.io.bytes_read;
  Score score;
  const absl::Status status = ScoreWindows(windows, options.common.chunk_rows, engine.get(), &progress, &score);
  if (absl::IsCancelled(status)) LeaveSoon();
  RETURN_IF_ERROR(status);
  timeline.prompt_end = timeline.end = engine->counters();
  timeline.prompt_tokens = windows.size() * windows[0].tokens.size();
  progress.Clear();
  const double nll = score.MeanNll();
  nlohmann::ordered_json result = {{"tokens", score.tokens}, {"windows", windows.size()}, {"nll", nll}};
  result["perplexity"] = std::exp(nll);
  result["stats"] = StatsJson(*engine, timeline);
  absl::PrintF("%s\n", JsonLine(result));
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
  return {command, [options] { return RunPerplexity(*options); }};
}

}  // namespace sluice
