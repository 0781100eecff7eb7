// The sweeps of a batch job: documents join as room allows and leave when they
// are answered; all that are in flight advance together.
//
// Owns the documents in flight. Admits in input order, reserving KV for prompt
// and answer; answers are on the disk before their room is given away. Stops
// between sweeps: when all is done, when asked to, or when the deadline leaves no
// time for another sweep; what is unfinished then stands in the journal. Answers
// do not depend on how often that happened. One thread.
#ifndef SLUICE_SRC_BATCH_BATCH_RUNNER_H_
#define SLUICE_SRC_BATCH_BATCH_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/batch/batch_meter.h"
#include "src/batch/batch_work.h"
#include "src/batch/document.h"
#include "src/batch/job_store.h"
#include "src/batch/prefix_index.h"
#include "src/batch/prompt_balance.h"
#include "src/batch/prompt_encoder.h"
#include "src/batch/sweep_composer.h"
#include "src/engine/engine.h"

namespace sluice {

struct BatchTotals {
  uint64_t documents = 0;  // answered by this process, errors included
  uint64_t errors = 0;
  uint64_t prompt_tokens = 0;  // computed
  uint64_t shared_tokens = 0;  // of prompts, computed for another document
  // Of documents that an earlier process began: found in the spill.
  uint64_t resumed_positions = 0;
  uint64_t generated_tokens = 0;
  uint64_t sweeps = 0;
  uint64_t rows = 0;
};

class BatchRunner {
 public:
  enum class End { kDone, kStopped, kDeadline };

  // Answers of one sweep, and errors, wait to be written together until they are so large.
  static constexpr size_t kAnswerBufferBytes = 256 << 10;

  struct Options {
    TokenLimits limits;
    std::string model;                             // where a request names none
    const std::atomic<bool>* wind_down = nullptr;  // raised: no further sweep
    int64_t deadline_ns = 0;                       // on NowNs's clock; 0: none
    int64_t prompt_rows = 0;                       // of a sweep at most; 0: no bound but the balance
    // What is in flight goes to the disk this often at most: a crash costs the sweeps
    // since, never an answer. Tiny models would wait for the drive otherwise.
    int64_t sync_interval_ns = 1'000'000'000;
    uint64_t errors_before = 0;  // of earlier processes, for the status
    std::function<void(const BatchStatus& status)> on_status = [](const BatchStatus&) {};
    // During a sweep that ends in so many seconds, once it is to be the last.
    std::function<void(double seconds_left)> on_winding_down;
    std::function<uint64_t()> draw_seed;
    std::function<int64_t()> unix_seconds;
  };

  // All outlive the runner; `work` has been measured.
  BatchRunner(Engine* engine, const BatchWork* work, const PromptEncoder* encoder, const Tokenizer* tokenizer,
              JobStore* store, Options options);

  // How it ended, or the error that stopped it. In either case the journal has been synced.
  absl::StatusOr<End> Run();

  const BatchTotals& totals() const { return totals_; }
  BatchStatus status() const;
  const BatchMeter& meter() const { return meter_; }

 private:
  absl::StatusOr<End> RunSweeps();
  absl::Status Admit();
  // Reads on until there is a document to place, answering what cannot be served.
  absl::Status FindNext();
  absl::StatusOr<std::unique_ptr<Document>> Begin(size_t index, EncodedRequest request);
  absl::StatusOr<bool> Place(Document* document);
  void Join(Document* document);
  absl::Status ForgetSpill(Document* document);
  void SetAsideSpilled();
  bool PlaceSpilled(Document* document, const std::vector<SpilledBlock>& blocks);
  // Of the tokens that they may have, what answers took so far.
  double TakenShare() const;
  bool InTime(const Document& document) const;
  absl::Status Refuse(size_t index, const RefusedRequest& refused);
  absl::Status Sweep();
  int64_t PromptRows() const;
  int64_t NextRows() const;
  absl::Status TakeTokens(absl::Span<const float> logits);
  // Answers what is answered, and gives its room away.
  absl::Status FinishAnswered();
  std::string AnswerLine(const Document& document);
  absl::Status WriteManyAnswers();
  absl::Status WriteAnswers();
  void Leave(std::unique_ptr<Document> document);
  absl::Status JournalSpill();
  absl::Status SyncJournal();
  bool OutOfTime() const;
  void Observe(const EngineCounters& before, uint64_t generated);
  void WatchWindDown(int layers_done, int64_t begin_ns);
  bool stopped() const { return options_.wind_down != nullptr && options_.wind_down->load(); }

  Engine* engine_;
  const BatchWork* work_;
  const PromptEncoder* encoder_;
  const Tokenizer* tokenizer_;
  JobStore* store_;
  const Options options_;
  PrefixIndex prefixes_;
  SweepComposer composer_;
  PromptBalance balance_;
  BatchMeter meter_;
  BatchTotals totals_;
  std::vector<std::unique_ptr<Document>> active_;  // in the order of admission
  std::unique_ptr<Document> next_;                 // encoded, waiting for room
  size_t next_index_ = 0;                          // of the input: nothing before it waits
  std::vector<int> free_sequences_;                // the lowest last
  bool admitting_ = true;                          // until the deadline is too near
  double waiting_answer_tokens_ = 0;               // asked for by documents that were not begun
  double waiting_prompt_tokens_ = 0;
  std::string answers_;  // not written yet
  std::vector<uint64_t> answered_lines_;
  double asked_tokens_ = 0;  // by documents answered, for the share of it that they took
  double taken_tokens_ = 0;
  int64_t synced_ns_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_BATCH_RUNNER_H_
