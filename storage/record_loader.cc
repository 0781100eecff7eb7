#include "storage/record_loader.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "storage/record_loader_impl.h"

namespace sluice {
namespace {

// Results in a row that neither bring a chunk further nor count as an error:
// interrupted reads, and short ones that end within their first block.
constexpr int kMaxStalls = 1000;

// Waits for one load.
class OneLoad final : public LoadSink {
 public:
  void OnLoaded(uint64_t /*token*/, absl::Status status) override {
    MutexLock lock(&mutex_);
    status_ = std::move(status);
    done_ = true;
    news_.NotifyOne();
  }
  absl::Status Wait() {
    MutexLock lock(&mutex_);
    while (!done_) news_.Wait(&mutex_);
    return status_;
  }

 private:
  Mutex mutex_;
  CondVar news_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

RecordLoader::Impl::Impl(std::unique_ptr<BlockReader> reader, std::vector<std::string> paths,
                         std::vector<uint64_t> file_sizes, const Options& options)
    : reader_(std::move(reader)),
      paths_(std::move(paths)),
      file_sizes_(std::move(file_sizes)),
      alignment_(reader_->alignment_bytes()),
      chunk_bytes_(AlignUp(std::max<uint32_t>(options.chunk_bytes, 1), alignment_)),
      depth_(std::max(1, std::min(options.depth, reader_->capacity()))),
      max_retries_(options.max_retries),
      prefetch_depth_(std::max(1, options.prefetch_depth)),
      mirrors_(static_cast<int>(options.mirrored_files)),
      chunks_(depth_),
      // One more for each priority: a job that is being cut may have no chunk
      // under way.
      jobs_(depth_ + kPriorities),
      completions_(depth_) {
  SLUICE_CHECK(paths_.size() == file_sizes_.size());
  for (int i = 0; i < depth_; ++i) free_chunks_.push_back(i);
  issued_.reserve(depth_);
  reads_.reserve(depth_);
  cutting_.fill(-1);
  thread_ = std::thread([this] { Run(); });
}

RecordLoader::Impl::~Impl() {
  {
    MutexLock lock(&mutex_);
    closing_ = true;
    news_.NotifyOne();
  }
  reader_->Wake();
  thread_.join();
}

void RecordLoader::Impl::Load(const LoadRequest& request, LoadPriority priority) {
  bool wake;
  {
    MutexLock lock(&mutex_);
    AccountTime();
    queues_[static_cast<int>(priority)].Push(request);
    // The I/O thread looks at the queues after its sinks return.
    wake = !wake_sent_ && !OnIoThread();
    wake_sent_ |= wake;
    news_.NotifyOne();
  }
  if (wake) reader_->Wake();
}

void RecordLoader::Impl::Discard(const LoadSink* sink) {
  {
    MutexLock lock(&mutex_);
    for (LoadQueue& queue : queues_) queue.Discard(sink);
  }
  reader_->Wake();
}

void RecordLoader::Impl::OrderPrefetch(uint64_t token, bool hurry) {
  {
    MutexLock lock(&mutex_);
    if (order_.token != token) order_ = {token, false, false};
    (hurry ? order_.hurry : order_.abandon) = true;
  }
  reader_->Wake();
}

void RecordLoader::Impl::RegisterMemory(std::vector<absl::Span<uint8_t>> regions) {
  {
    MutexLock lock(&mutex_);
    regions_ = std::move(regions);
    regions_changed_ = true;
  }
  reader_->Wake();
}

IoCounters RecordLoader::Impl::counters() const {
  MutexLock lock(&mutex_);
  IoCounters now = counters_;
  Attribute(NowNs() - accounted_until_ns_, &now);
  return now;
}

void RecordLoader::Impl::Run() {
  while (TakeNews()) {
    FillDepth();
    absl::Status status = SubmitIssued();
    if (!status.ok()) {
      Break(std::move(status));
      continue;
    }
    if (ending_ && Idle()) continue;  // nothing would end the wait
    const absl::StatusOr<size_t> count = reader_->Reap(absl::MakeSpan(completions_));
    if (count.ok()) {
      HandleCompletions(*count);
    } else {
      Break(count.status());
    }
  }
}

bool RecordLoader::Impl::TakeNews() {
  std::vector<absl::Span<uint8_t>> regions;
  bool register_regions;
  PrefetchOrder order;
  {
    MutexLock lock(&mutex_);
    while (!broken_.ok() && !closing_ && NothingWaits()) news_.Wait(&mutex_);
    wake_sent_ = false;
    ending_ = closing_;
    order = std::exchange(order_, PrefetchOrder());
    if (ending_ && active_jobs_ == 0 && NothingWaits()) return false;
    register_regions = std::exchange(regions_changed_, false) && broken_.ok();
    if (register_regions) regions = std::move(regions_);
  }
  if (register_regions) reader_->RegisterMemory(regions);
  ApplyOrder(order);
  return true;
}

void RecordLoader::Impl::ApplyOrder(const PrefetchOrder& order) {
  if (!order.hurry && !order.abandon) return;
  // Begin it, so that there is something to apply the order to.
  constexpr int kPrefetch = static_cast<int>(LoadPriority::kPrefetch);
  if (cutting_[kPrefetch] < 0) cutting_[kPrefetch] = BeginNext(kPrefetch);
  for (Job& job : jobs_) {
    if (!job.active || !job.prefetch || job.request.token != order.token) continue;
    if (order.abandon && job.slice < job.request.record->slices.size()) {
      job.status.Update(absl::CancelledError("the guess was given up"));
    }
    hurried_ = order.hurry;
    if (!hurried_) continue;
    MutexLock lock(&mutex_);
    AccountTime();
    for (Chunk& chunk : chunks_) chunk.prefetch = false;
    prefetches_in_flight_ = 0;
    counters_.prefetch_bytes_in_flight = 0;
  }
}

bool RecordLoader::Impl::NothingWaits() const {
  return std::all_of(queues_.begin(), queues_.end(), [](const LoadQueue& queue) { return queue.empty(); });
}

void RecordLoader::Impl::FillDepth() {
  while (!free_chunks_.empty()) {
    const int job = NextJob();
    if (job < 0) return;
    CutChunk(job);
  }
}

int RecordLoader::Impl::NextJob() {
  if (hurried_) {
    const int job = NextJobOf(static_cast<int>(LoadPriority::kPrefetch));
    if (job >= 0) return job;
  }
  for (int priority = 0; priority < kPriorities; ++priority) {
    const int job = NextJobOf(priority);
    if (job < 0) continue;
    const bool guess = jobs_[job].prefetch && !hurried_;
    return guess && jobs_[job].chunks >= prefetch_depth_ ? -1 : job;
  }
  return -1;
}

int RecordLoader::Impl::NextJobOf(int priority) {
  int& job_index = cutting_[priority];
  if (job_index >= 0) {
    Job& job = jobs_[job_index];
    if (ending_ && job.status.ok()) job.status = absl::CancelledError("the loader is closing");
    if (job.status.ok() && job.slice < job.request.record->slices.size()) return job_index;
    job_index = -1;  // all is issued, or no more need be
    if (job.active && job.chunks == 0) FinishJob(&job);
  }
  job_index = BeginNext(priority);
  return job_index;
}

int RecordLoader::Impl::BeginNext(int priority) {
  LoadRequest request;
  while (PopRequest(priority, &request)) {
    absl::Status refusal = Refusal(request);
    const bool nothing_to_read = request.record->slices.empty() || request.slot == nullptr;
    if (refusal.ok() && !nothing_to_read) {
      const auto job = std::find_if(jobs_.begin(), jobs_.end(), [](const Job& other) { return !other.active; });
      SLUICE_CHECK(job != jobs_.end());
      *job = Job();
      job->active = true;
      job->request = request;
      job->prefetch = priority == static_cast<int>(LoadPriority::kPrefetch);
      ++active_jobs_;
      return static_cast<int>(job - jobs_.begin());
    }
    request.sink->OnLoaded(request.token, std::move(refusal));
  }
  return -1;
}

bool RecordLoader::Impl::PopRequest(int priority, LoadRequest* request) {
  MutexLock lock(&mutex_);
  if (queues_[priority].empty()) return false;
  AccountTime();
  *request = queues_[priority].Pop();
  return true;
}

absl::Status RecordLoader::Impl::Refusal(const LoadRequest& request) const {
  if (!broken_.ok()) return broken_;
  if (ending_ || request.discarded) return absl::CancelledError("the load was dropped before it began");
  for (const Slice& slice : request.record->slices) {
    SLUICE_CHECK(slice.file >= 0 && static_cast<size_t>(slice.file) < paths_.size() && slice.bytes > 0);
    const uint64_t size = file_sizes_[slice.file];
    const uint64_t end = slice.offset + slice.bytes;
    if (end < slice.offset || end > size) return EndsEarly(slice.file, size, end);
  }
  return absl::OkStatus();
}

// Chunks of a superset are of nearly equal length: a megabyte and a block is
// two halves, not a long read and a tiny one.
void RecordLoader::Impl::CutChunk(int job_index) {
  Job& job = jobs_[job_index];
  const Slice& slice = job.request.record->slices[job.slice];
  const uint64_t begin = AlignDown(slice.offset, alignment_);
  const uint64_t superset_bytes = SupersetBytes(slice, alignment_);
  const uint64_t even_bytes = AlignUp(CeilDiv(superset_bytes, CeilDiv(superset_bytes, chunk_bytes_)), alignment_);
  const uint64_t bytes = std::min(even_bytes, superset_bytes - job.cut_bytes);

  const int index = free_chunks_.back();
  free_chunks_.pop_back();
  Chunk& chunk = chunks_[index];
  chunk = Chunk();
  chunk.job = job_index;
  chunk.cut_bytes = bytes;
  chunk.prefetch = job.prefetch && !hurried_;
  const bool has_copy = HasCopy(slice.file);
  const int file = slice.file + (has_copy && copies_.Choose(bytes) == 1 ? mirrors_ : 0);
  chunk.copy = CopyOf(file);
  if (has_copy) copies_.Submitted(chunk.copy, bytes, NowNs());
  chunk.read = {file, begin + job.cut_bytes, static_cast<uint32_t>(bytes), job.request.slot + job.slot_offset,
                static_cast<uint64_t>(index)};
  chunk.needed_end = std::min(begin + job.cut_bytes + bytes, slice.offset + slice.bytes);
  issued_.push_back(index);

  ++job.chunks;
  job.slot_offset += bytes;
  job.cut_bytes += bytes;
  if (job.cut_bytes == superset_bytes) {
    ++job.slice;
    job.cut_bytes = 0;
  }
}

absl::Status RecordLoader::Impl::SubmitIssued() {
  if (issued_.empty()) return absl::OkStatus();
  reads_.clear();
  {
    MutexLock lock(&mutex_);
    AccountTime();
    in_flight_ += static_cast<int>(issued_.size());
    for (const int index : issued_) {
      const Chunk& chunk = chunks_[index];
      reads_.push_back(chunk.read);
      prefetches_in_flight_ += chunk.prefetch;
      counters_.prefetch_bytes_in_flight += chunk.prefetch ? chunk.read.bytes : 0;
    }
  }
  issued_.clear();
  return reader_->Submit(reads_);
}

void RecordLoader::Impl::HandleCompletions(size_t count) {
  if (count == 0) return;
  CountCompletions(count);
  for (size_t i = 0; i < count; ++i) Handle(completions_[i]);
}

void RecordLoader::Impl::CountCompletions(size_t count) {
  MutexLock lock(&mutex_);
  AccountTime();
  in_flight_ -= static_cast<int>(count);
  counters_.reads += count;
  counters_.retries = retries_made_;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t bytes = static_cast<uint64_t>(std::max(0, completions_[i].result));
    const Chunk& chunk = chunks_[completions_[i].tag];
    counters_.bytes_read += bytes;
    if (!chunk.prefetch) continue;
    --prefetches_in_flight_;
    counters_.prefetch_bytes += bytes;
    counters_.prefetch_bytes_in_flight -= chunk.read.bytes;
  }
}

void RecordLoader::Impl::AccountTime() {
  const int64_t now_ns = NowNs();
  Attribute(now_ns - accounted_until_ns_, &counters_);
  accounted_until_ns_ = now_ns;
}

void RecordLoader::Impl::Attribute(int64_t passed_ns, IoCounters* counters) const {
  const bool reading = in_flight_ > prefetches_in_flight_;
  const bool waiting = !queues_[static_cast<int>(LoadPriority::kDemand)].empty() ||
                       !queues_[static_cast<int>(LoadPriority::kStream)].empty();
  if (reading) counters->busy_ns += passed_ns;
  if (reading || waiting) counters->asked_ns += passed_ns;
  if (!reading && in_flight_ > 0) counters->prefetch_only_ns += passed_ns;
}

void RecordLoader::Impl::Handle(const BlockCompletion& completion) {
  Chunk* const chunk = &chunks_[completion.tag];
  if (!jobs_[chunk->job].status.ok()) return FinishChunk(chunk, absl::OkStatus());  // already lost
  if (completion.result < 0) return HandleError(chunk, -completion.result);
  const uint64_t got_bytes = static_cast<uint64_t>(completion.result);
  if (chunk->read.offset + got_bytes >= chunk->needed_end) return FinishChunk(chunk, absl::OkStatus());
  HandleShort(chunk, got_bytes);
}

void RecordLoader::Impl::HandleError(Chunk* chunk, int error) {
  const bool passing = error == EAGAIN || error == EINTR;
  if (passing && ++chunk->stalls <= kMaxStalls) return Resubmit(chunk);
  if (passing || chunk->retries == max_retries_) return FinishChunk(chunk, ReadError(*chunk, error));
  ++chunk->retries;
  ++retries_made_;
  if (HasCopy(chunk->read.file)) chunk->read.file += CopyOf(chunk->read.file) == 1 ? -mirrors_ : mirrors_;
  Resubmit(chunk);
}

void RecordLoader::Impl::HandleShort(Chunk* chunk, uint64_t got_bytes) {
  BlockRead& read = chunk->read;
  const uint64_t whole_bytes = AlignDown(got_bytes, alignment_);
  chunk->stalls = whole_bytes > 0 ? 0 : chunk->stalls + 1;
  if (got_bytes == 0 || chunk->stalls > kMaxStalls) {
    return FinishChunk(chunk, EndsEarly(read.file, read.offset + got_bytes, chunk->needed_end));
  }
  read.offset += whole_bytes;
  read.bytes -= static_cast<uint32_t>(whole_bytes);
  read.destination = static_cast<uint8_t*>(read.destination) + whole_bytes;
  Resubmit(chunk);
}

void RecordLoader::Impl::Resubmit(Chunk* chunk) { issued_.push_back(static_cast<int>(chunk - chunks_.data())); }

void RecordLoader::Impl::FinishChunk(Chunk* chunk, absl::Status status) {
  Job& job = jobs_[chunk->job];
  job.status.Update(std::move(status));
  if (HasCopy(chunk->read.file)) copies_.Finished(chunk->copy, chunk->cut_bytes, NowNs());
  free_chunks_.push_back(static_cast<int>(chunk - chunks_.data()));
  --job.chunks;
  const bool cut = !job.status.ok() || job.slice == job.request.record->slices.size();
  if (job.chunks == 0 && cut) FinishJob(&job);
}

void RecordLoader::Impl::FinishJob(Job* job) {
  const int index = static_cast<int>(job - jobs_.data());
  std::replace(cutting_.begin(), cutting_.end(), index, -1);
  job->active = false;
  --active_jobs_;
  if (job->prefetch) hurried_ = false;
  job->request.sink->OnLoaded(job->request.token, std::move(job->status));
}

absl::Status RecordLoader::Impl::ReadError(const Chunk& chunk, int error) const {
  return absl::DataLossError(absl::StrCat("read of ", paths_[chunk.read.file], " at offset ", chunk.read.offset,
                                          " failed: ", std::generic_category().message(error), " (", chunk.retries + 1,
                                          " tries)"));
}

absl::Status RecordLoader::Impl::EndsEarly(int file, uint64_t end, uint64_t needed_end) const {
  return absl::DataLossError(absl::StrCat("read of ", paths_[file], " stops at offset ", end,
                                          " where data up to offset ", needed_end,
                                          " should be: the file is cut short; copy or download it again"));
}

void RecordLoader::Impl::Break(absl::Status status) {
  broken_ = std::move(status);
  issued_.clear();
  free_chunks_.clear();
  for (int i = 0; i < depth_; ++i) free_chunks_.push_back(i);
  {
    MutexLock lock(&mutex_);
    AccountTime();
    in_flight_ = prefetches_in_flight_ = 0;
    counters_.prefetch_bytes_in_flight = 0;
  }
  for (Job& job : jobs_) {
    if (!job.active) continue;
    job.status.Update(broken_);
    FinishJob(&job);
  }
}

RecordLoader::RecordLoader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RecordLoader::~RecordLoader() = default;

std::unique_ptr<RecordLoader> RecordLoader::Start(std::unique_ptr<BlockReader> reader, std::vector<std::string> paths,
                                                  std::vector<uint64_t> file_sizes, const Options& options) {
  auto impl = std::make_unique<Impl>(std::move(reader), std::move(paths), std::move(file_sizes), options);
  return std::unique_ptr<RecordLoader>(new RecordLoader(std::move(impl)));
}

void RecordLoader::Load(const Record* record, uint8_t* slot, LoadPriority priority, LoadSink* sink, uint64_t token) {
  SLUICE_CHECK(slot != nullptr || reader().Mapped(0) != nullptr);
  SLUICE_DCHECK(reinterpret_cast<uintptr_t>(slot) % alignment_bytes() == 0);
  impl_->Load({record, slot, sink, token}, priority);
}

absl::Status RecordLoader::LoadNow(const Record& record, uint8_t* slot) {
  SLUICE_CHECK(!impl_->OnIoThread());
  OneLoad load;
  Load(&record, slot, LoadPriority::kDemand, &load, 0);
  return load.Wait();
}

void RecordLoader::Discard(const LoadSink* sink) { impl_->Discard(sink); }

void RecordLoader::Hurry(uint64_t token) { impl_->OrderPrefetch(token, /*hurry=*/true); }
void RecordLoader::Abandon(uint64_t token) { impl_->OrderPrefetch(token, /*hurry=*/false); }

void RecordLoader::RegisterMemory(std::vector<absl::Span<uint8_t>> regions) {
  impl_->RegisterMemory(std::move(regions));
}

IoCounters RecordLoader::counters() const { return impl_->counters(); }

const BlockReader& RecordLoader::reader() const { return impl_->reader(); }

const uint8_t* RecordLoader::Mapped(const Slice& slice) const {
  const uint8_t* const file = reader().Mapped(slice.file);
  return file == nullptr ? nullptr : file + slice.offset;
}

}  // namespace sluice
