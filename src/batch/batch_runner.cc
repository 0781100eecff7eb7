#include "src/batch/batch_runner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "src/batch/batch_response.h"
#include "src/model/kv_cache.h"

namespace sluice {
namespace {

ApiError LongAnswerError(size_t bytes) {
  ApiError error;
  error.message = absl::StrCat("the answer takes ", bytes, " bytes, and a line of the output holds ",
                               OutputFile::kLongestLineBytes, "; ask for fewer tokens or logprobs");
  error.code = "answer_too_long";
  return error;
}

}  // namespace

BatchRunner::BatchRunner(Engine* engine, const BatchWork* work, const PromptEncoder* encoder,
                         const Tokenizer* tokenizer, JobStore* store, Options options)
    : engine_(engine),
      work_(work),
      encoder_(encoder),
      tokenizer_(tokenizer),
      store_(store),
      options_(std::move(options)),
      prefixes_(engine->sequence_shape().sequences) {
  for (int sequence = engine->sequence_shape().sequences; sequence > 0; --sequence) {
    free_sequences_.push_back(sequence - 1);
  }
  for (size_t index = 0; index < work->lines(); ++index) {
    waiting_answer_tokens_ += static_cast<double>(work->demand(index).max_tokens);
    waiting_prompt_tokens_ += static_cast<double>(work->demand(index).prompt_tokens);
  }
  if (engine->sequence_shape().spilled) SetAsideSpilled();
}

// What waits on the drive for one document is not to be another's room.
void BatchRunner::SetAsideSpilled() {
  KvCache* cache = engine_->kv_cache();
  for (const auto& [line, document] : store_->journal()->in_flight()) {
    for (const SpilledBlock& block : document.blocks) {
      if (block.block < cache->shape().blocks) cache->TakeLast(static_cast<int32_t>(block.block));
    }
  }
}

absl::StatusOr<BatchRunner::End> BatchRunner::Run() {
  absl::StatusOr<End> end = RunSweeps();
  absl::Status synced = JournalSpill();
  synced.Update(store_->journal()->Sync());
  if (end.ok() && !synced.ok()) return synced;
  return end;
}

absl::StatusOr<BatchRunner::End> BatchRunner::RunSweeps() {
  for (;;) {
    RETURN_IF_ERROR(Admit());
    RETURN_IF_ERROR(FinishAnswered());
    options_.on_status(status());
    while (next_index_ < work_->lines() && work_->done(next_index_)) ++next_index_;
    if (active_.empty() && next_ == nullptr && next_index_ == work_->lines()) return End::kDone;
    if (stopped()) return End::kStopped;
    if (active_.empty() || OutOfTime()) return End::kDeadline;
    RETURN_IF_ERROR(Sweep());
    RETURN_IF_ERROR(FinishAnswered());
    if (NowNs() - synced_ns_ >= options_.sync_interval_ns) RETURN_IF_ERROR(SyncJournal());
  }
}

absl::Status BatchRunner::Admit() {
  while (admitting_ && !stopped()) {
    RETURN_IF_ERROR(FindNext());
    if (next_ == nullptr) return absl::OkStatus();
    // One that was answered when the last process ended needs no room.
    if (!next_->completion.finished()) {
      admitting_ = InTime(*next_);
      if (!admitting_ || free_sequences_.empty()) return absl::OkStatus();
      ASSIGN_OR_RETURN(const bool placed, Place(next_.get()));
      if (!placed) return absl::OkStatus();
    }
    waiting_answer_tokens_ -= static_cast<double>(next_->completion.max_tokens());
    waiting_prompt_tokens_ -= static_cast<double>(next_->prompt_size());
    active_.push_back(std::move(next_));
  }
  return absl::OkStatus();
}

absl::Status BatchRunner::FindNext() {
  for (; next_ == nullptr && next_index_ < work_->lines(); ++next_index_) {
    if (work_->done(next_index_)) continue;
    ASSIGN_OR_RETURN(auto request, work_->Take(next_index_, *encoder_, options_.limits));
    if (const auto* refused = absl::get_if<RefusedRequest>(&request)) {
      RETURN_IF_ERROR(Refuse(next_index_, *refused));
      continue;
    }
    ASSIGN_OR_RETURN(next_, Begin(next_index_, absl::get<EncodedRequest>(std::move(request))));
  }
  return absl::OkStatus();
}

absl::Status BatchRunner::Refuse(size_t index, const RefusedRequest& refused) {
  ResponseContext context;
  context.line = work_->input().number(index);
  context.custom_id = refused.custom_id;
  ++totals_.errors;
  answers_ += ErrorLine(context, refused.error);
  answered_lines_.push_back(context.line);
  return WriteManyAnswers();
}

absl::Status BatchRunner::WriteManyAnswers() {
  return answers_.size() < kAnswerBufferBytes ? absl::OkStatus() : WriteAnswers();
}

absl::Status BatchRunner::WriteAnswers() {
  if (answered_lines_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(store_->Finish(answered_lines_, answers_));
  totals_.documents += answered_lines_.size();
  answered_lines_.clear();
  answers_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Document>> BatchRunner::Begin(size_t index, EncodedRequest request) {
  const uint64_t line = work_->input().number(index);
  const auto found = store_->journal()->in_flight().find(line);
  const bool resumed = found != store_->journal()->in_flight().end();
  const uint64_t seed = resumed ? found->second.seed : request.request.seed.value_or(options_.draw_seed());
  if (!resumed) RETURN_IF_ERROR(store_->journal()->Begin(line, seed));
  const int64_t prompt_tokens = static_cast<int64_t>(request.prompt.size());
  Completion completion(std::move(request.request), prompt_tokens, request.max_tokens, seed, tokenizer_);
  if (resumed) {
    for (ChosenToken& token : found->second.tokens) {
      if (!completion.finished()) completion.Append(std::move(token));
    }
  }
  return std::make_unique<Document>(line, std::move(request.custom_id), std::move(request.prompt),
                                    std::move(completion));
}

// False while there is too little room: nothing is placed before those that came earlier.
absl::StatusOr<bool> BatchRunner::Place(Document* document) {
  std::map<uint64_t, InFlight>& in_flight = store_->journal()->in_flight();
  const auto found = in_flight.find(document->line);
  const std::vector<SpilledBlock> spilled =
      found == in_flight.end() ? std::vector<SpilledBlock>() : found->second.blocks;
  document->sequence = free_sequences_.back();
  if (!PlaceSpilled(document, spilled)) {
    const std::vector<int32_t> shared = prefixes_.Find(document->prompt);
    KvCache* cache = engine_->kv_cache();
    if (!cache->Reserve(document->sequence, document->reserved_positions(), shared)) return false;
    document->computed = document->shared_positions = static_cast<int64_t>(shared.size()) * kKvBlockTokens;
    totals_.shared_tokens += static_cast<uint64_t>(document->shared_positions);
  }
  // What is not adopted as it was told is told anew.
  const bool adopted_all = document->spilled_blocks == static_cast<int64_t>(spilled.size());
  if (!adopted_all) RETURN_IF_ERROR(ForgetSpill(document));
  if (found != in_flight.end()) in_flight.erase(found);
  Join(document);
  return true;
}

void BatchRunner::Join(Document* document) {
  free_sequences_.pop_back();
  prefixes_.Add(document->sequence, document->prompt, engine_->kv_cache()->blocks(document->sequence));
  const bool is_adopted = document->computed > document->shared_positions;
  if (is_adopted) prefixes_.Advance(document->sequence, document->computed);
}

// The journal tells of blocks that are not to be trusted: its tokens tell the same.
absl::Status BatchRunner::ForgetSpill(Document* document) {
  document->spilled_blocks = 0;
  RETURN_IF_ERROR(store_->journal()->Begin(document->line, document->completion.seed()));
  std::vector<Journal::Chosen> tokens;
  for (const ChosenToken& token : document->completion.tokens()) tokens.push_back({document->line, &token});
  return store_->journal()->Choose(tokens);
}

// The keys that an earlier process left on the drive, where they are sound. Of
// tokens the last one is computed again: its logits are wanted.
bool BatchRunner::PlaceSpilled(Document* document, const std::vector<SpilledBlock>& blocks) {
  const int64_t usable = std::min<int64_t>(blocks.size(), (document->known() - 1) / kKvBlockTokens);
  if (!engine_->sequence_shape().spilled || usable == 0) return false;
  KvCache* cache = engine_->kv_cache();
  std::vector<int32_t> places;
  std::vector<KvBlockChecksum> unread;
  for (const SpilledBlock& block : absl::MakeConstSpan(blocks).first(static_cast<size_t>(usable))) {
    places.push_back(static_cast<int32_t>(block.block));
    if (places.back() < 0 || places.back() >= cache->shape().blocks) return false;
    // A prefix that an earlier document shares has been read for that one. But that
    // one may have made a block its own that this one lost, in a process without
    // room for both.
    if (cache->IsFree(places.back())) {
      unread.push_back({places.back(), block.checksum});
    } else if (cache->checksum(places.back()) != block.checksum) {
      return false;
    }
  }
  // Too early to read anything.
  const int64_t held = usable - static_cast<int64_t>(unread.size());
  if (KvCache::BlocksFor(document->reserved_positions()) - held > cache->free_blocks()) return false;
  if (!cache->VerifySpill(unread).ok()) return false;
  if (!cache->Adopt(document->sequence, document->reserved_positions(), places)) return false;
  document->computed = usable * kKvBlockTokens;
  document->spilled_blocks = usable;
  totals_.resumed_positions += static_cast<uint64_t>(document->computed);
  return true;
}

double BatchRunner::TakenShare() const { return asked_tokens_ > 0 ? taken_tokens_ / asked_tokens_ : 1.0; }

bool BatchRunner::InTime(const Document& document) const {
  if (options_.deadline_ns == 0) return true;
  const double sweeps = 1.0 + TakenShare() * static_cast<double>(document.completion.max_tokens());
  return SecondsOf(options_.deadline_ns - NowNs()) > sweeps * meter_.sweep_seconds();
}

bool BatchRunner::OutOfTime() const {
  return options_.deadline_ns != 0 && SecondsOf(options_.deadline_ns - NowNs()) < meter_.sweep_seconds();
}

absl::Status BatchRunner::Sweep() {
  const SweepLimits limits{engine_->max_rows(), engine_->max_logits_rows(),
                           std::min(engine_->max_rows(), PromptRows())};
  composer_.Compose(active_, limits, &prefixes_);
  SLUICE_CHECK(!composer_.rows().empty());
  const EngineCounters before = engine_->counters();
  const uint64_t generated_before = totals_.generated_tokens;
  ASSIGN_OR_RETURN(
      const absl::Span<const float> logits,
      engine_->RunSweep(
          composer_.rows(), [&](int layers_done) { WatchWindDown(layers_done, before.time_ns); }, NextRows()));
  for (const SweepComposer::Share& share : composer_.shares()) share.document->computed += share.rows;
  RETURN_IF_ERROR(TakeTokens(logits));
  Observe(before, totals_.generated_tokens - generated_before);
  return absl::OkStatus();
}

int64_t BatchRunner::PromptRows() const {
  int64_t running = 0;
  LastRows last;
  for (const std::unique_ptr<Document>& document : active_) {
    const bool runs = document->pending() == 1;
    running += runs;
    if (!runs) last.prompt_rows += document->pending();
    int64_t& longest = runs ? last.running_tokens : last.prompt_tokens;
    longest = std::max(longest, document->completion.tokens_left());
  }
  int64_t rows = balance_.RowsFor(running);
  const bool nothing_waits = next_ == nullptr || !admitting_;
  if (nothing_waits) rows = std::max(rows, RowsToEndTogether(last));
  return options_.prompt_rows > 0 ? std::min(rows, options_.prompt_rows) : rows;
}

// At least the next token of all that go on, and of those that take the place of the others.
int64_t BatchRunner::NextRows() const {
  if (stopped()) return 0;
  const auto ends = [](const SweepComposer::Share& share) {
    return share.wants_logits && share.document->completion.tokens_left() == 1;
  };
  const int64_t ending =
      next_ == nullptr ? std::count_if(composer_.shares().begin(), composer_.shares().end(), ends) : 0;
  return static_cast<int64_t>(active_.size()) - ending;
}

absl::Status BatchRunner::TakeTokens(absl::Span<const float> logits) {
  const size_t vocab = static_cast<size_t>(engine_->config().vocab);
  std::vector<Journal::Chosen> chosen;
  for (const SweepComposer::Share& share : composer_.shares()) {
    if (!share.wants_logits) continue;
    Completion& completion = share.document->completion;
    completion.Append(completion.Choose(logits.first(vocab)));
    logits.remove_prefix(vocab);
    chosen.push_back({share.document->line, &completion.tokens().back()});
  }
  totals_.generated_tokens += chosen.size();
  return store_->journal()->Choose(chosen);
}

absl::Status BatchRunner::FinishAnswered() {
  for (const std::unique_ptr<Document>& document : active_) {
    if (!document->completion.finished()) continue;
    answers_ += AnswerLine(*document);
    answered_lines_.push_back(document->line);
    RETURN_IF_ERROR(WriteManyAnswers());
  }
  // Room is given away when the answers are safe.
  RETURN_IF_ERROR(WriteAnswers());
  for (std::unique_ptr<Document>& document : active_) {
    if (document->completion.finished()) Leave(std::move(document));
  }
  active_.erase(std::remove(active_.begin(), active_.end(), nullptr), active_.end());
  return absl::OkStatus();
}

// One that no line can hold must not end the job, now and whenever it goes on.
std::string BatchRunner::AnswerLine(const Document& document) {
  const ResponseContext context{document.line, document.custom_id, options_.model, options_.unix_seconds()};
  std::string line = ResponseLine(context, document.completion, *tokenizer_);
  if (line.size() <= OutputFile::kLongestLineBytes) return line;
  ++totals_.errors;
  return ErrorLine(context, LongAnswerError(line.size()));
}

void BatchRunner::Leave(std::unique_ptr<Document> document) {
  asked_tokens_ += static_cast<double>(document->completion.max_tokens());
  taken_tokens_ += static_cast<double>(document->completion.tokens().size());
  if (document->sequence < 0) return;
  prefixes_.Remove(document->sequence);
  engine_->kv_cache()->Release(document->sequence);
  free_sequences_.push_back(document->sequence);
}

absl::Status BatchRunner::JournalSpill() {
  const KvCache* cache = engine_->kv_cache();
  const auto has_news = [&](const std::unique_ptr<Document>& document) {
    return document->sequence >= 0 && cache->sealed_blocks(document->sequence) > document->spilled_blocks;
  };
  if (!engine_->sequence_shape().spilled || std::none_of(active_.begin(), active_.end(), has_news)) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(engine_->kv_cache()->SyncSpill());
  std::vector<SpilledBlock> news;
  for (const std::unique_ptr<Document>& document : active_) {
    if (!has_news(document)) continue;
    const int64_t sealed = cache->sealed_blocks(document->sequence);
    news.clear();
    for (int64_t i = document->spilled_blocks; i < sealed; ++i) {
      const int32_t block = cache->blocks(document->sequence)[static_cast<size_t>(i)];
      news.push_back({static_cast<uint32_t>(block), cache->checksum(block)});
    }
    RETURN_IF_ERROR(store_->journal()->Spill(document->line, news));
    document->spilled_blocks = sealed;
  }
  return absl::OkStatus();
}

absl::Status BatchRunner::SyncJournal() {
  RETURN_IF_ERROR(JournalSpill());
  RETURN_IF_ERROR(store_->journal()->Sync());
  synced_ns_ = NowNs();
  return absl::OkStatus();
}

void BatchRunner::Observe(const EngineCounters& before, uint64_t generated) {
  const EngineCounters after = engine_->counters();
  const int64_t sweep_ns = after.sweep_ns - before.sweep_ns;
  balance_.Observe({static_cast<int64_t>(composer_.rows().size()), sweep_ns - (after.stall_ns - before.stall_ns),
                    after.busy_ns() - before.busy_ns()});
  const uint64_t prompt_tokens = static_cast<uint64_t>(
      std::count_if(composer_.rows().begin(), composer_.rows().end(), [](const Row& row) { return !row.generated; }));
  meter_.Observe({NowNs() - before.time_ns, generated, prompt_tokens, after.io.bytes_read - before.io.bytes_read});
  ++totals_.sweeps;
  totals_.rows += composer_.rows().size();
  totals_.prompt_tokens += prompt_tokens;
}

void BatchRunner::WatchWindDown(int layers_done, int64_t begin_ns) {
  if (!stopped() || !options_.on_winding_down) return;
  const double layers = engine_->config().layers;
  options_.on_winding_down(SecondsOf(NowNs() - begin_ns) * (layers - layers_done) / layers_done);
}

BatchStatus BatchRunner::status() const {
  BatchStatus status;
  status.active = active_.size();
  status.done = work_->lines_done() + totals_.documents;
  status.waiting = work_->lines() - status.done - status.active;
  status.errors = options_.errors_before + totals_.errors;
  status.tokens_per_minute = meter_.tokens_per_minute();
  status.tokens_per_minute_now = meter_.tokens_per_minute_now();
  status.read_gbps = meter_.read_gbps();
  double answer_tokens = waiting_answer_tokens_, prompt_tokens = waiting_prompt_tokens_;
  for (const std::unique_ptr<Document>& document : active_) {
    answer_tokens += static_cast<double>(document->completion.tokens_left());
    prompt_tokens += static_cast<double>(std::max<int64_t>(0, document->prompt_size() - document->computed));
  }
  status.eta_seconds = meter_.SecondsFor(TakenShare() * answer_tokens, prompt_tokens);
  return status;
}

}  // namespace sluice
