#include "src/batch/batch_job.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "src/batch/batch_response.h"
#include "src/batch/output_file.h"
#include "src/model/kv_cache.h"
#include "src/model/model_family.h"
#include "storage/system_memory.h"

namespace sluice {
namespace {

// Memory for a byte of a line while it is parsed and encoded: the text as JSON,
// as a prompt, and as tokens.
constexpr uint64_t kBytesPerLineByte = 24;
// Of a custom_id while the input is read for the first time: a hash in a table
// that grows by doubling.
constexpr uint64_t kBytesPerSeenId = 64;
// Of the largest document, while its answer is written: told logprobs are some
// twenty times as long as kept ones.
constexpr uint64_t kAnswerCopies = 20;
// Of a model's name, which may be long, in the job's identity: the fingerprint knows it whole.
constexpr size_t kLongestNameBytes = 200;
// A sweep that carries more rows of prompts gains nothing.
constexpr int64_t kMostPromptRows = 4096;

// What a line of the output says of its document.
absl::Status CheckOutputLine(absl::string_view line, const std::function<absl::Status(const DoneLine&)>& visit) {
  const absl::optional<DoneLine> done = ParseOutputLine(line);
  if (done.has_value()) return visit(*done);
  return absl::FailedPreconditionError(
      absl::StrCat("the output has a line that no batch job wrote (\"", line.substr(0, 40), "...\"); give another -o"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<BatchJob>> BatchJob::Open(BatchJobOptions options) {
  std::unique_ptr<BatchJob> job(new BatchJob(std::move(options)));
  if (job->options_.files == nullptr) {
    job->host_files_ = HostFiles();
    job->options_.files = job->host_files_.get();
  }
  // Once: what is free changes, and with it which documents fit.
  if (job->options_.engine.ram_bytes == 0) job->options_.engine.ram_bytes = DefaultBudgetBytes();
  ASSIGN_OR_RETURN(job->kernels_, KernelsFor(job->options_.engine));
  ASSIGN_OR_RETURN(job->model_, OpenModel(job->options_.model_path, /*with_tokenizer=*/true));
  RETURN_IF_ERROR(job->ReadFacts());
  RETURN_IF_ERROR(job->OpenFiles());
  return job;
}

absl::Status BatchJob::OpenFiles() {
  std::error_code absent;
  if (std::filesystem::equivalent(options_.input_path, options_.output_path, absent)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the output ", options_.output_path, " is the input itself; give another -o"));
  }
  ASSIGN_OR_RETURN(work_, BatchWork::Open(options_.input_path));
  ASSIGN_OR_RETURN(store_, JobStore::Open(options_.files, options_.output_path, Identity()));
  RETURN_IF_ERROR(OrLeaveNothing(ReadOutput()));
  TokenLimits& limits = options_.runner.limits;
  limits.context_length = model_.config.context_length;
  limits.max_tokens = options_.max_tokens;
  encoder_.emplace(model_.files.metadata(), &*model_.tokenizer, model_.config.vocab);
  return OrLeaveNothing(work_->Measure(*encoder_, limits, options_.measure_progress));
}

// A job that could not begin binds nobody to its options.
absl::Status BatchJob::OrLeaveNothing(absl::Status status) {
  if (!status.ok() && store_->is_new()) store_->RemoveFolder().IgnoreError();
  return status;
}

absl::Status BatchJob::ReadOutput() {
  return store_->OpenOutput([this](absl::string_view line) {
    return CheckOutputLine(line, [this](const DoneLine& done) {
      RETURN_IF_ERROR(work_->MarkDone(done));
      options_.runner.errors_before += done.is_error;
      // The crash came between the answer and the record that it is there.
      const bool in_flight = store_->journal()->in_flight().erase(done.line) > 0;
      return in_flight ? store_->journal()->Done(done.line) : absl::OkStatus();
    });
  });
}

JobIdentity BatchJob::Identity() const {
  return {
      {"the input file", absl::StrFormat("%d bytes, %016x", work_->input().size_bytes(), work_->input().fingerprint())},
      {"the model", absl::StrFormat("%s %016x", model_.config.name.substr(0, kLongestNameBytes), model_.fingerprint)},
      {"the kernel set", std::string(kernels_->name)},
      {"the numerics version", absl::StrCat(kNumericsVersion)},
      {"--kv", options_.engine.kv_type == KvType::kQ8_0 ? "q8_0" : "f16"},
      {"--max-tokens", options_.max_tokens.has_value() ? absl::StrCat(*options_.max_tokens) : "not given"}};
}

bool BatchJob::IsServed(size_t index) const {
  const BatchWork::Demand& demand = work_->demand(index);
  return demand.max_tokens > 0 && demand.positions() <= options_.runner.limits.most_positions;
}

uint64_t BatchJob::HeldBytes() const {
  uint64_t largest_document = 0;
  for (size_t i = 0; i < work_->lines(); ++i) {
    if (IsServed(i)) largest_document = std::max(largest_document, work_->demand(i).memory_bytes);
  }
  return work_->memory_bytes() + work_->longest_line_bytes() * kBytesPerLineByte + largest_document * kAnswerCopies +
         2 * BatchRunner::kAnswerBufferBytes;
}

absl::Status BatchJob::ReadFacts() {
  const ModelConfig& config = model_.config;
  ASSIGN_OR_RETURN(const ModelFamily* family, FamilyOf(model_.files));
  ASSIGN_OR_RETURN(const WeightLayout layout, LayOut(*family, model_.files, config));
  facts_.experts = config.routing.experts;
  facts_.top_k = config.routing.top_k;
  facts_.routed_bytes = layout.expert_bytes();
  facts_.trunk_bytes = model_.files.total_bytes() - std::min(model_.files.total_bytes(), facts_.routed_bytes);
  facts_.block_bytes =
      KvCache::RowBytes(KvTypeFor(options_.engine), config.kv_width()) * kKvBlockTokens * config.layers;
  return absl::OkStatus();
}

// Mapped files leave no reader for a spill.
SpillUse BatchJob::Spill() const {
  const bool mapped = options_.engine.io == IoBackend::kMmap;
  return mapped && options_.spill == SpillUse::kWhereItPays ? SpillUse::kNever : options_.spill;
}

std::vector<SequenceShape> BatchJob::Shapes() const {
  std::vector<DocumentNeed> needs;
  for (size_t i = 0; i < work_->lines(); ++i) {
    const BatchWork::Demand& demand = work_->demand(i);
    if (IsServed(i)) needs.push_back({KvCache::BlocksFor(demand.positions()), demand.memory_bytes});
  }
  const int most = static_cast<int>(std::clamp<size_t>(needs.size(), 1, static_cast<size_t>(options_.max_batch)));
  return RankShapes(facts_, needs, most, Spill(), Kept());
}

// None without a document whose keys are in it.
KeptSpill BatchJob::Kept() const {
  const SpillPlaces& places = store_->journal()->spill_places();
  const auto& in_flight = store_->journal()->in_flight();
  const bool is_used = std::any_of(in_flight.begin(), in_flight.end(),
                                   [](const auto& document) { return !document.second.blocks.empty(); });
  constexpr uint64_t kMost = std::numeric_limits<int32_t>::max();
  if (!is_used || places.blocks > kMost) return {};
  return {static_cast<int>(std::min(places.sequences, kMost)), static_cast<int64_t>(places.blocks)};
}

absl::Status BatchJob::Start() {
  std::vector<int64_t> lengths = {1};
  for (size_t i = 0; i < work_->lines(); ++i) lengths.push_back(work_->demand(i).positions());
  std::sort(lengths.begin(), lengths.end());
  ASSIGN_OR_RETURN(const size_t most, LongestThatFits(lengths));
  PlanFor(lengths[most]);
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create(std::move(model_.files), options_.engine);
  RETURN_IF_ERROR(OrLeaveNothing(engine.status()));
  engine_ = *std::move(engine);
  return engine_->sequence_shape().spilled ? OrLeaveNothing(TellSpillLayout()) : absl::OkStatus();
}

absl::Status BatchJob::TellSpillLayout() {
  const KvCache* cache = engine_->kv_cache();
  SpillPlaces places;
  places.blocks = static_cast<uint64_t>(cache->shape().blocks);
  places.block_bytes = cache->spill_place_bytes();
  places.sequences = static_cast<uint64_t>(engine_->sequence_shape().sequences);
  const SpillPlaces& before = store_->journal()->spill_places();
  // What was enough for more sequences still is.
  if (places.SameLayout(before)) places.sequences = std::max(places.sequences, before.sequences);
  // A power cut must not take the file from the blocks that were synced to it.
  RETURN_IF_ERROR(options_.files->SyncFolder(store_->folder()));
  return store_->journal()->SpillLayout(places);
}

// Of ascending lengths; the first when none does. Documents beyond it can never
// fit and get an error line.
absl::StatusOr<size_t> BatchJob::LongestThatFits(absl::Span<const int64_t> lengths) {
  ASSIGN_OR_RETURN(const bool all_fit, Fits(lengths.back()));
  if (all_fit) return lengths.size() - 1;
  size_t low = 0, high = lengths.size() - 1;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    ASSIGN_OR_RETURN(const bool fits, Fits(lengths[middle]));
    (fits ? low : high) = fits ? middle + 1 : middle;
  }
  return low == 0 ? 0 : low - 1;
}

absl::StatusOr<bool> BatchJob::Fits(int64_t positions) {
  PlanFor(positions);
  return Engine::HasPlan(model_.files, options_.engine);
}

void BatchJob::PlanFor(int64_t positions) {
  options_.runner.limits.most_positions = positions;
  EngineOptions& engine = options_.engine;
  engine.context = std::max<int64_t>(positions, 1);
  engine.shapes = Shapes();
  int most = 1;
  for (const SequenceShape& shape : engine.shapes) most = std::max(most, shape.sequences);
  int64_t prompt_tokens = 0;
  for (size_t i = 0; i < work_->lines(); ++i) prompt_tokens += IsServed(i) ? work_->demand(i).prompt_tokens : 0;
  engine.sweep_rows = most + std::min(prompt_tokens, kMostPromptRows);
  engine.logits_rows = most;
  engine.row_per_sequence = true;
  engine.caller = model_.caller;
  engine.caller.peak += work_->lines() * kBytesPerSeenId;
  engine.caller.held += HeldBytes();
  if (Spill() != SpillUse::kNever) engine.spill_path = store_->folder() + kSpillName;
  engine.files = options_.files;
}

absl::StatusOr<BatchRunner::End> BatchJob::Run() {
  options_.runner.model = model_.config.name.empty() ? options_.model_path : model_.config.name;
  runner_ = std::make_unique<BatchRunner>(engine_.get(), &*work_, &*encoder_, &*model_.tokenizer, store_.get(),
                                          options_.runner);
  return runner_->Run();
}

double BatchJob::SecondsOneByOne() const {
  const EngineCounters counters = engine_->counters();
  const BatchTotals& totals = runner_->totals();
  const uint64_t answered = totals.documents - totals.errors;
  if (runner_->meter().total().bytes_read == 0 || counters.io.busy_ns == 0 || answered == 0) return 0;
  // The reads of the loading count: both numbers are since the engine was made.
  const double bytes_per_second =
      static_cast<double>(counters.io.bytes_read) * 1e9 / static_cast<double>(counters.io.busy_ns);
  SequenceShape alone, prompt;
  prompt.sequences = static_cast<int>(1 + (totals.prompt_tokens + totals.shared_tokens) / answered);
  const double prompts = static_cast<double>(answered) * SweepBytes(facts_, prompt);
  // Of a document that an earlier process began, fewer were generated here.
  const uint64_t sweeps = totals.generated_tokens - std::min(answered, totals.generated_tokens);
  const double answers = static_cast<double>(sweeps) * SweepBytes(facts_, alone);
  return (prompts + answers) / bytes_per_second;
}

absl::StatusOr<JobStatus> ReadJobStatus(const std::string& input_path, const std::string& output_path) {
  const std::unique_ptr<DurableFiles> files = HostFiles();
  JobStatus status;
  ASSIGN_OR_RETURN(BatchWork work, BatchWork::Open(input_path));
  status.documents = work.lines();
  absl::flat_hash_set<uint64_t> done;
  const auto count = [&](absl::string_view line) {
    // The last line may be half written: it is not done yet.
    const absl::optional<DoneLine> answer = ParseOutputLine(line);
    if (!answer.has_value() || !done.insert(answer->line).second) return absl::OkStatus();
    RETURN_IF_ERROR(work.MarkDone(*answer));
    status.errors += answer->is_error;
    status.generated_tokens += answer->completion_tokens;
    return absl::OkStatus();
  };
  const absl::Status output = OutputFile::Read(files.get(), output_path, count);
  if (!output.ok() && !absl::IsNotFound(output)) return output;
  status.done = done.size();
  const std::string folder = JobFolderOf(output_path);
  ASSIGN_OR_RETURN(status.running, files->IsLocked(folder + kLockName));
  const auto journal = Journal::Inspect(files.get(), folder + kJournalName);
  if (absl::IsNotFound(journal.status())) return status;
  RETURN_IF_ERROR(journal.status());
  for (const auto& [line, in_flight] : (*journal)->in_flight()) {
    if (done.contains(line)) continue;
    ++status.in_flight;
    status.in_flight_tokens += in_flight.tokens.size();
  }
  // Of a job that was begun with a longer input more may be in flight than this one has.
  status.in_flight = std::min(status.in_flight, status.documents - status.done);
  return status;
}

}  // namespace sluice
