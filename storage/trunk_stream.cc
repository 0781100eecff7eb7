#include "storage/trunk_stream.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/stop_flag.h"

namespace sluice {
namespace {

absl::Status WithPlace(const absl::Status& status, const Record& piece, bool is_head) {
  const std::string place = is_head ? "output head" : absl::StrCat("trunk of layer ", piece.layer);
  return absl::Status(status.code(), absl::StrCat(place, ": ", status.message()));
}

// Waits for many loads and keeps the first failure.
class Landing final : public LoadSink {
 public:
  void OnLoaded(uint64_t token, absl::Status status) override {
    MutexLock lock(&mutex_);
    if (status_.ok() && !status.ok()) failed_token_ = token;
    status_.Update(std::move(status));
    ++landed_;
    news_.NotifyOne();
  }
  // Waits for more than `seen` landings or a failure; returns how many landed.
  size_t Await(size_t seen, absl::Status* status, uint64_t* failed_token) {
    MutexLock lock(&mutex_);
    while (landed_ == seen && status_.ok()) news_.Wait(&mutex_);
    *status = status_;
    *failed_token = failed_token_;
    return landed_;
  }
  void AwaitAll(size_t count) {
    MutexLock lock(&mutex_);
    while (landed_ < count) news_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar news_;
  size_t landed_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  uint64_t failed_token_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

// Only `entries_`, `loading_` and the mutex are shared with the I/O thread.
class TrunkStream::Impl final : public LoadSink {
 public:
  Impl(Options options, RecordLoader* loader);
  ~Impl() override { Cancel(); }
  absl::Status Allocate();

  absl::Status LoadPinned(const std::function<void(uint64_t, uint64_t)>& progress);
  void BeginSweep(bool with_head);
  absl::Status Next();
  size_t current() const { return current_; }
  const uint8_t* slice(size_t index) const;
  const uint8_t* pinned_slice(size_t piece, size_t index) const;
  uint8_t* mutable_pinned_slice(size_t piece, size_t index);
  void Cancel();
  void OnLoaded(uint64_t token, absl::Status status) override;

  int64_t stall_ns() const { return stall_ns_; }
  uint64_t pinned_bytes() const { return pinned_memory_.size_bytes(); }
  uint64_t streamed_bytes_per_sweep() const;
  uint64_t streamed_bytes() const { return streamed_bytes_; }
  std::vector<absl::Span<uint8_t>> memory_regions();

 private:
  static constexpr size_t kNoPiece = static_cast<size_t>(-1);

  // A stream slot and the piece in it. Pieces are used in the order they are
  // read, so the slots in use are a ring.
  struct Entry {
    size_t piece = kNoPiece;
    bool loading = false;
    absl::Status status;
  };

  bool Streamed(size_t piece) const { return !mapped_ && !pinned_[piece]; }
  uint64_t PieceBytes(size_t piece) const { return SlotBytes(pieces_[piece], alignment_); }
  uint8_t* SlotData(size_t entry) { return stream_memory_.data() + entry * stream_slot_bytes_; }
  void ReleaseCurrent();
  // Queues reads of the next pieces while there are free slots.
  void Fill();
  // The next piece to read ahead; false when all that is certain is under way.
  bool PlanNext(size_t* piece);
  absl::Status AwaitFront();

  const std::vector<Record> pieces_;
  const size_t head_begin_;
  const std::vector<bool> pinned_;
  const size_t stream_slots_;
  RecordLoader* const loader_;
  const uint32_t alignment_;
  const bool mapped_;
  const StopFlag stop_;

  AlignedBuffer pinned_memory_;
  std::vector<uint64_t> pinned_offsets_;  // by piece
  AlignedBuffer stream_memory_;
  uint64_t stream_slot_bytes_ = 0;

  // The sweep.
  size_t next_ = 0;
  size_t sweep_end_ = 0;
  size_t current_ = kNoPiece;
  int64_t stall_ns_ = 0;
  uint64_t streamed_bytes_ = 0;

  // The look-ahead. Beyond the end of a sweep only the layers of the next are
  // certain; whether it wants the head is told by BeginSweep.
  size_t plan_next_ = 0;
  size_t plan_end_;
  bool plan_is_ahead_ = true;
  size_t front_ = 0;  // of the ring
  size_t used_ = 0;

  Mutex mutex_;
  CondVar news_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  int loading_ ABSL_GUARDED_BY(mutex_) = 0;
};

TrunkStream::Impl::Impl(Options options, RecordLoader* loader)
    : pieces_(std::move(options.pieces)),
      head_begin_(options.head_begin),
      pinned_(std::move(options.pinned)),
      stream_slots_(static_cast<size_t>(std::max(0, options.stream_slots))),
      loader_(loader),
      alignment_(loader->alignment_bytes()),
      mapped_(loader->reader().Mapped(0) != nullptr),
      stop_(options.stop),
      plan_end_(head_begin_) {
  SLUICE_CHECK(pinned_.size() == pieces_.size() && head_begin_ <= pieces_.size());
}

absl::Status TrunkStream::Impl::Allocate() {
  if (mapped_) return absl::OkStatus();
  uint64_t pinned_bytes = 0;
  bool any_streamed = false;
  for (size_t piece = 0; piece < pieces_.size(); ++piece) {
    pinned_offsets_.push_back(pinned_bytes);
    if (pinned_[piece]) {
      pinned_bytes += PieceBytes(piece);
    } else {
      any_streamed = true;
      stream_slot_bytes_ = std::max(stream_slot_bytes_, PieceBytes(piece));
    }
  }
  if (any_streamed && stream_slots_ < 2) {
    return absl::InvalidArgumentError("streaming the trunk needs 2 slots at least; give a larger --ram");
  }
  const size_t memory_alignment = std::max<size_t>(alignment_, 4096);
  ASSIGN_OR_RETURN(pinned_memory_, AlignedBuffer::Create(pinned_bytes, memory_alignment));
  if (!any_streamed) return absl::OkStatus();
  ASSIGN_OR_RETURN(stream_memory_, AlignedBuffer::Create(stream_slot_bytes_ * stream_slots_, memory_alignment));
  MutexLock lock(&mutex_);
  entries_.resize(stream_slots_);
  return absl::OkStatus();
}

absl::Status TrunkStream::Impl::LoadPinned(const std::function<void(uint64_t, uint64_t)>& progress) {
  if (mapped_) return absl::OkStatus();
  // Landings are counted, not named: bytes in the order of the queue are close
  // enough for a progress bar, and exact at the end.
  std::vector<uint64_t> done_bytes = {0};
  Landing landing;
  for (size_t piece = 0; piece < pieces_.size(); ++piece) {
    if (!pinned_[piece]) continue;
    done_bytes.push_back(done_bytes.back() + PieceBytes(piece));
    loader_->Load(&pieces_[piece], pinned_memory_.data() + pinned_offsets_[piece], LoadPriority::kStream, &landing,
                  piece);
  }
  const size_t loads = done_bytes.size() - 1;
  absl::Status status;
  uint64_t failed_piece = 0;
  for (size_t landed = 0; landed < loads && status.ok();) {
    landed = landing.Await(landed, &status, &failed_piece);
    if (status.ok() && progress) progress(done_bytes[landed], done_bytes.back());
  }
  if (status.ok()) return status;
  loader_->Discard(&landing);
  landing.AwaitAll(loads);
  return WithPlace(status, pieces_[failed_piece], failed_piece >= head_begin_);
}

void TrunkStream::Impl::BeginSweep(bool with_head) {
  SLUICE_CHECK(next_ == sweep_end_);  // else the last sweep was neither used up nor cancelled
  ReleaseCurrent();
  next_ = 0;
  sweep_end_ = with_head ? pieces_.size() : head_begin_;
  if (!plan_is_ahead_) plan_next_ = 0;
  plan_is_ahead_ = false;
  plan_end_ = sweep_end_;
  Fill();
}

absl::Status TrunkStream::Impl::Next() {
  SLUICE_CHECK(next_ < sweep_end_);
  ReleaseCurrent();
  Fill();
  current_ = next_++;
  if (!Streamed(current_)) return absl::OkStatus();
  streamed_bytes_ += PieceBytes(current_);
  return AwaitFront();
}

absl::Status TrunkStream::Impl::AwaitFront() {
  MutexLock lock(&mutex_);
  Entry& entry = entries_[front_];
  SLUICE_CHECK(used_ > 0 && entry.piece == current_);
  if (entry.loading) {
    const int64_t start_ns = NowNs();
    while (entry.loading && !stop_.raised()) stop_.Wait(&news_, &mutex_);
    stall_ns_ += NowNs() - start_ns;
  }
  if (entry.loading) return stop_.Check();
  if (entry.status.ok()) return absl::OkStatus();
  return WithPlace(entry.status, pieces_[current_], current_ >= head_begin_);
}

void TrunkStream::Impl::ReleaseCurrent() {
  if (current_ == kNoPiece) return;
  if (Streamed(current_)) {
    front_ = (front_ + 1) % stream_slots_;
    --used_;
  }
  current_ = kNoPiece;
}

void TrunkStream::Impl::Fill() {
  if (stream_memory_.size_bytes() == 0) return;
  size_t piece = 0;
  while (used_ < stream_slots_ && PlanNext(&piece)) {
    const size_t entry = (front_ + used_++) % stream_slots_;
    {
      MutexLock lock(&mutex_);
      entries_[entry] = {piece, true, absl::OkStatus()};
      ++loading_;
    }
    loader_->Load(&pieces_[piece], SlotData(entry), LoadPriority::kStream, this, entry);
  }
}

bool TrunkStream::Impl::PlanNext(size_t* piece) {
  for (;;) {
    while (plan_next_ < plan_end_ && !Streamed(plan_next_)) ++plan_next_;
    if (plan_next_ < plan_end_) {
      *piece = plan_next_++;
      return true;
    }
    if (plan_is_ahead_) return false;
    plan_is_ahead_ = true;
    plan_next_ = 0;
    plan_end_ = head_begin_;
  }
}

void TrunkStream::Impl::OnLoaded(uint64_t token, absl::Status status) {
  // Told under the mutex: once it is free the waiting thread may destroy us.
  MutexLock lock(&mutex_);
  entries_[token].loading = false;
  entries_[token].status = std::move(status);
  --loading_;
  news_.NotifyAll();
}

const uint8_t* TrunkStream::Impl::slice(size_t index) const {
  const Record& record = pieces_[current_];
  if (mapped_) return loader_->Mapped(record.slices[index]);
  const uint8_t* const base = pinned_[current_] ? pinned_memory_.data() + pinned_offsets_[current_]
                                                : stream_memory_.data() + front_ * stream_slot_bytes_;
  return base + SliceOffsetInSlot(record, index, alignment_);
}

const uint8_t* TrunkStream::Impl::pinned_slice(size_t piece, size_t index) const {
  if (mapped_) return loader_->Mapped(pieces_[piece].slices[index]);
  return const_cast<Impl*>(this)->mutable_pinned_slice(piece, index);
}

uint8_t* TrunkStream::Impl::mutable_pinned_slice(size_t piece, size_t index) {
  if (mapped_ || !pinned_[piece]) return nullptr;
  return pinned_memory_.data() + pinned_offsets_[piece] + SliceOffsetInSlot(pieces_[piece], index, alignment_);
}

void TrunkStream::Impl::Cancel() {
  MutexLock lock(&mutex_);
  if (loading_ > 0) loader_->Discard(this);
  while (loading_ > 0) news_.Wait(&mutex_);
  next_ = sweep_end_ = 0;
  current_ = kNoPiece;
  plan_next_ = 0;
  plan_end_ = head_begin_;
  plan_is_ahead_ = true;
  front_ = used_ = 0;
}

uint64_t TrunkStream::Impl::streamed_bytes_per_sweep() const {
  uint64_t bytes = 0;
  for (size_t piece = 0; piece < pieces_.size(); ++piece) bytes += Streamed(piece) ? PieceBytes(piece) : 0;
  return bytes;
}

std::vector<absl::Span<uint8_t>> TrunkStream::Impl::memory_regions() {
  return {{pinned_memory_.data(), pinned_memory_.size_bytes()}, {stream_memory_.data(), stream_memory_.size_bytes()}};
}

TrunkStream::TrunkStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TrunkStream::~TrunkStream() = default;

absl::StatusOr<std::unique_ptr<TrunkStream>> TrunkStream::Create(Options options, RecordLoader* loader) {
  auto impl = std::make_unique<Impl>(std::move(options), loader);
  RETURN_IF_ERROR(impl->Allocate());
  return std::unique_ptr<TrunkStream>(new TrunkStream(std::move(impl)));
}

absl::Status TrunkStream::LoadPinned(const std::function<void(uint64_t, uint64_t)>& progress) {
  return impl_->LoadPinned(progress);
}
void TrunkStream::BeginSweep(bool with_head) { impl_->BeginSweep(with_head); }
absl::Status TrunkStream::Next() { return impl_->Next(); }
size_t TrunkStream::current() const { return impl_->current(); }
const uint8_t* TrunkStream::slice(size_t index) const { return impl_->slice(index); }
const uint8_t* TrunkStream::pinned_slice(size_t piece, size_t index) const { return impl_->pinned_slice(piece, index); }
uint8_t* TrunkStream::mutable_pinned_slice(size_t piece, size_t index) {
  return impl_->mutable_pinned_slice(piece, index);
}
void TrunkStream::Cancel() { impl_->Cancel(); }
int64_t TrunkStream::stall_ns() const { return impl_->stall_ns(); }
uint64_t TrunkStream::pinned_bytes() const { return impl_->pinned_bytes(); }
uint64_t TrunkStream::streamed_bytes_per_sweep() const { return impl_->streamed_bytes_per_sweep(); }
uint64_t TrunkStream::streamed_bytes() const { return impl_->streamed_bytes(); }
std::vector<absl::Span<uint8_t>> TrunkStream::memory_regions() { return impl_->memory_regions(); }

}  // namespace sluice
