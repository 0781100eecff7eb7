// sluice batch: a file of requests in, a file of answers out.
#include <chrono>
#include <ctime>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "base/status.h"
#include "src/batch/batch_job.h"
#include "src/cli/common.h"
#include "src/cli/inputs.h"
#include "src/cli/interrupt.h"
#include "storage/energy_meter.h"
#include "storage/system_memory.h"

namespace sluice {
namespace {

struct BatchOptions {
  CommonOptions common;
  BatchJobOptions job;
  std::string deadline, spill = "auto";
  bool status = false, json = false;
};

absl::StatusOr<int64_t> DeadlineNs(const std::string& text) {
  if (text.empty()) return 0;
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  ASSIGN_OR_RETURN(const double seconds, ParseDeadline(text, local.tm_hour, local.tm_min, local.tm_sec));
  return NowNs() + static_cast<int64_t>(seconds * 1e9);
}

void PrintStatusJson(const JobStatus& status) {
  const nlohmann::ordered_json json = {{"documents", status.documents},
                                       {"done", status.done},
                                       {"errors", status.errors},
                                       {"in_flight", status.in_flight},
                                       {"in_flight_tokens", status.in_flight_tokens},
                                       {"waiting", status.documents - status.done - status.in_flight},
                                       {"generated_tokens", status.generated_tokens},
                                       {"running", status.running}};
  absl::PrintF("%s\n", JsonLine(json));
}

absl::Status PrintStatus(const BatchOptions& options) {
  ASSIGN_OR_RETURN(const JobStatus status, ReadJobStatus(options.job.input_path, options.job.output_path));
  if (options.json) {
    PrintStatusJson(status);
    return absl::OkStatus();
  }
  absl::PrintF("%d of %d documents done (%d errors, %d tokens generated), %d in flight (%d tokens), %d waiting; %s\n",
               status.done, status.documents, status.errors, status.generated_tokens, status.in_flight,
               status.in_flight_tokens, status.documents - status.done - status.in_flight,
               status.running                    ? "running"
               : status.done == status.documents ? "finished"
                                                 : "not running: the same command goes on");
  return absl::OkStatus();
}

nlohmann::ordered_json StatsOf(const BatchJob& job, const RunTimeline& timeline) {
  const BatchTotals& totals = job.runner().totals();
  nlohmann::ordered_json stats = StatsJson(job.engine(), timeline);
  const double minutes = static_cast<double>(timeline.end.time_ns - timeline.begin.time_ns) / 60e9;
  const double generated = static_cast<double>(totals.generated_tokens);
  const double bytes = static_cast<double>(timeline.end.io.bytes_read - timeline.begin.io.bytes_read);
  stats["documents"] = totals.documents;
  stats["errors"] = totals.errors;
  stats["sweeps"] = totals.sweeps;
  stats["rows"] = totals.rows;
  stats["sequences"] = job.engine().sequence_shape().sequences;
  stats["kv_spilled"] = job.engine().sequence_shape().spilled;
  stats["prompt_tokens_shared"] = totals.shared_tokens;
  stats["positions_resumed"] = totals.resumed_positions;
  stats["tokens_per_minute"] = Ratio(generated, minutes);
  stats["prompt_tokens_per_minute"] = Ratio(static_cast<double>(totals.prompt_tokens), minutes);
  stats["bytes_per_token"] = Ratio(bytes, generated);
  return stats;
}

std::string SummaryOf(const BatchJob& job, const nlohmann::ordered_json& stats, double seconds,
                      absl::optional<double> joules) {
  const BatchTotals& totals = job.runner().totals();
  std::string text = absl::StrFormat(
      "%d documents (%d errors) in %s: %.1f tokens/min generated, %.1f prompt tokens/min, %.1f MB read for a token",
      totals.documents, totals.errors, DurationText(seconds), stats["tokens_per_minute"].get<double>(),
      stats["prompt_tokens_per_minute"].get<double>(), stats["bytes_per_token"].get<double>() / 1e6);
  const double alone = job.SecondsOneByOne();
  if (alone > 0) absl::StrAppend(&text, "\none document at a time would take about ", DurationText(alone));
  if (joules.has_value() && totals.generated_tokens > 0) {
    absl::StrAppendFormat(&text, "\nthe processor took %.0f J, %.1f J for a token", *joules,
                          *joules / static_cast<double>(totals.generated_tokens));
  }
  return text;
}

void PrintSummary(const BatchOptions& options, const BatchJob& job, const RunTimeline& timeline,
                  absl::optional<double> joules) {
  nlohmann::ordered_json stats = StatsOf(job, timeline);
  const double seconds = SecondsOf(timeline.end.time_ns - timeline.begin.time_ns);
  if (options.common.stats == "json") {
    if (joules.has_value()) stats["processor_joules"] = *joules;
    absl::FPrintF(stderr, "%s\n", JsonLine(stats));
  } else if (options.common.stats == "text" && !options.common.quiet) {
    absl::FPrintF(stderr, "%s\n", SummaryOf(job, stats, seconds, joules));
  }
}

absl::Status EndStatus(BatchRunner::End end, const BatchStatus& status) {
  const uint64_t left = status.active + status.waiting;
  switch (end) {
    case BatchRunner::End::kDone:
      return absl::OkStatus();
    case BatchRunner::End::kStopped:
      return absl::CancelledError("interrupted");
    case BatchRunner::End::kDeadline:
      return absl::DeadlineExceededError(
          absl::StrCat("the deadline left no time for ", left, " documents; the same command goes on with them"));
  }
  return absl::OkStatus();
}

// Joules of the whole run: the counters wrap, so they are read as sweeps end.
class EnergyTotal {
 public:
  void Update() {
    const absl::optional<double> joules = meter_.TakeJoules();
    if (joules.has_value()) total_ = total_.value_or(0) + *joules;
  }
  const absl::optional<double>& joules() const { return total_; }

 private:
  EnergyMeter meter_;
  absl::optional<double> total_;
};

absl::Status RunJob(const BatchOptions& options, BatchJob* job, Progress* progress) {
  EnergyTotal energy;
  job->runner_options().on_status = [&](const BatchStatus& status) {
    energy.Update();
    progress->ShowText(StatusLine(status));
  };
  job->runner_options().on_winding_down = [&](double seconds_left) {
    progress->ShowText(absl::StrCat("finishing this sweep, ", DurationText(seconds_left),
                                    " left; again to stop at once, which loses this sweep and no answer"));
  };
  WatchInterrupt();
  RunTimeline timeline;
  timeline.begin = job->engine().counters();
  timeline.load_bytes = timeline.begin.io.bytes_read;
  timeline.prompt_end = timeline.begin;
  const absl::StatusOr<BatchRunner::End> end = job->Run();
  progress->Clear();
  energy.Update();
  timeline.end = job->engine().counters();
  timeline.prompt_tokens = job->runner().totals().prompt_tokens;
  timeline.generated_tokens = job->runner().totals().generated_tokens;
  RETURN_IF_ERROR(end.status());
  PrintSummary(options, *job, timeline, energy.joules());
  if (*end == BatchRunner::End::kDone) RETURN_IF_ERROR(job->Close());
  return EndStatus(*end, job->runner().status());
}

// No engine was started: what it would have counted is nothing.
void PrintNothingLeft(const BatchOptions& options) {
  if (options.common.stats == "json") {
    nlohmann::ordered_json stats = {{"model", options.common.model}, {"peak_rss_bytes", PeakResidentBytes()}};
    for (const char* name : {"prompt_tokens", "generated_tokens", "bytes_read", "bytes_written", "documents", "errors",
                             "sweeps", "rows", "positions_resumed"}) {
      stats[name] = 0;
    }
    for (const char* name : {"tokens_per_minute", "prompt_tokens_per_minute", "bytes_per_token"}) stats[name] = 0.0;
    absl::FPrintF(stderr, "%s\n", JsonLine(stats));
  } else if (!options.common.quiet) {
    absl::FPrintF(stderr, "every request has its answer; nothing is left to do\n");
  }
}

absl::Status RunBatch(BatchOptions options) {
  if (options.status) return PrintStatus(options);
  Progress progress(ProgressOf(options.common));
  BatchJobOptions& job_options = options.job;
  ASSIGN_OR_RETURN(job_options.engine, MakeEngineOptions(options.common, &progress));
  // An interrupt ends the job between sweeps, not in the middle of one.
  job_options.engine.stop = nullptr;
  job_options.runner.wind_down = InterruptFlag();
  job_options.runner.prompt_rows = options.common.chunk_rows;
  ASSIGN_OR_RETURN(job_options.runner.deadline_ns, DeadlineNs(options.deadline));
  job_options.model_path = options.common.model;
  job_options.spill = options.spill == "auto"     ? SpillUse::kWhereItPays
                      : options.spill == "always" ? SpillUse::kAlways
                                                  : SpillUse::kNever;
  job_options.runner.draw_seed = [] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  };
  job_options.runner.unix_seconds = [] { return static_cast<int64_t>(std::time(nullptr)); };
  job_options.measure_progress = [&](uint64_t done, uint64_t total) { progress.Show("reading requests", done, total); };
  ASSIGN_OR_RETURN(const std::unique_ptr<BatchJob> job, BatchJob::Open(std::move(job_options)));
  if (job->cut_bytes() > 0 && !options.common.quiet) {
    progress.Clear();
    absl::FPrintF(stderr, "cut %d bytes that a crash left behind the last whole answer\n", job->cut_bytes());
  }
  if (job->lines_left() == 0) {
    progress.Clear();
    PrintNothingLeft(options);
    return job->Close();
  }
  RETURN_IF_ERROR(job->Start());
  progress.Clear();
  return RunJob(options, job.get(), &progress);
}

}  // namespace

Command AddBatchCommand(CLI::App* app) {
  auto options = std::make_shared<BatchOptions>();
  CLI::App* command = app->add_subcommand("batch", "answer a file of requests; safe to kill, the same command goes on");
  AddModelOption(command, &options->common);
  AddEngineOptions(command, &options->common);
  AddStatsOption(command, &options->common);
  command->add_option("input", options->job.input_path, "requests, one JSON object a line (OpenAI Batch)")->required();
  command->add_option("-o,--output", options->job.output_path, "answers, one a line, appended as they come")
      ->required();
  command->add_option("--max-batch", options->job.max_batch, "documents in flight at most")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command
      ->add_option("--max-tokens", options->job.max_tokens,
                   "tokens of an answer at most, whatever its request says; and where it says nothing")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command->add_option("--deadline", options->deadline, "when to be done: 8h, 90m, or a time of day such as 07:30");
  command->add_option("--spill", options->spill, "keep the KV cache on the drive, beside the output")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  command->add_flag("--status", options->status, "say how far the job has come, and do nothing else");
  command->add_flag("--json", options->json, "with --status: print one JSON object");
  return {command, [options] { return RunBatch(*options); }};
}

}  // namespace sluice
