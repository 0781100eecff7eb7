// A batch job from its files to its end: what `sluice batch` does.
#ifndef SLUICE_SRC_BATCH_BATCH_JOB_H_
#define SLUICE_SRC_BATCH_BATCH_JOB_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "src/batch/batch_runner.h"
#include "src/batch/batch_work.h"
#include "src/batch/job_store.h"
#include "src/batch/prompt_encoder.h"
#include "src/batch/shape_ranking.h"
#include "src/engine/engine.h"
#include "src/engine/opened_model.h"

namespace sluice {

struct BatchJobOptions {
  std::string model_path, input_path, output_path;
  EngineOptions engine;  // shapes of sweeps are the job's to set
  int max_batch = 512;
  absl::optional<int64_t> max_tokens;
  SpillUse spill = SpillUse::kWhereItPays;
  DurableFiles* files = nullptr;  // null: the host's
  BatchRunner::Options runner;    // limits and names are the job's to set
  std::function<void(uint64_t done, uint64_t total)> measure_progress = [](uint64_t, uint64_t) {};
};

class BatchJob {
 public:
  // Takes the job's lock and finds out what is left of it. Nothing is changed on
  // the disk when the job is another one's.
  static absl::StatusOr<std::unique_ptr<BatchJob>> Open(BatchJobOptions options);

  // Lines that have no answer yet.
  size_t lines_left() const { return work_->lines() - work_->lines_done(); }
  // What a crash left of the output's last lines, cut when it was opened.
  uint64_t cut_bytes() const { return store_->cut_bytes(); }
  // Plans and loads the engine.
  absl::Status Start();
  // To be completed before Run.
  BatchRunner::Options& runner_options() { return options_.runner; }
  // Once, when started.
  absl::StatusOr<BatchRunner::End> Run();
  // When no line is left: what was kept for a restart goes, and the job with it.
  absl::Status Close() { return store_->RemoveFolder(); }

  const Engine& engine() const { return *engine_; }
  // After Run.
  const BatchRunner& runner() const { return *runner_; }
  // What the answers of this process would have taken one at a time, by the bytes
  // they ask for and the rate at which they were read; 0 when unknown.
  double SecondsOneByOne() const;

 private:
  explicit BatchJob(BatchJobOptions options) : options_(std::move(options)) {}

  absl::Status OpenFiles();
  absl::Status OrLeaveNothing(absl::Status status);
  absl::Status ReadOutput();
  // Plans for documents of so many positions, and none longer.
  void PlanFor(int64_t positions);
  absl::StatusOr<bool> Fits(int64_t positions);
  absl::StatusOr<size_t> LongestThatFits(absl::Span<const int64_t> lengths);
  SpillUse Spill() const;
  std::vector<SequenceShape> Shapes() const;
  KeptSpill Kept() const;
  absl::Status TellSpillLayout();
  absl::Status ReadFacts();
  // Whether the plan at hand has room for the line's document.
  bool IsServed(size_t index) const;
  uint64_t HeldBytes() const;
  JobIdentity Identity() const;

  BatchJobOptions options_;
  std::unique_ptr<DurableFiles> host_files_;
  OpenedModel model_;
  ShapeFacts facts_;
  const KernelSet* kernels_ = nullptr;
  absl::optional<BatchWork> work_;
  absl::optional<PromptEncoder> encoder_;
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<BatchRunner> runner_;
};

// How far a job has come, by its files alone.
struct JobStatus {
  uint64_t documents = 0;
  uint64_t done = 0;
  uint64_t errors = 0;
  uint64_t generated_tokens = 0;  // of answers
  uint64_t in_flight = 0;
  uint64_t in_flight_tokens = 0;
  bool running = false;
};
absl::StatusOr<JobStatus> ReadJobStatus(const std::string& input_path, const std::string& output_path);

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_BATCH_JOB_H_
