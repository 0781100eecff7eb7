#include "storage/expert_pool.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "base/status.h"
#include "storage/expert_pool_impl.h"

namespace sluice {
namespace {

// Slots of a class that take part in loading before resident experts that wait
// for their turn are given up: one is filled while another is used.
constexpr int kCirculatingSlots = 2;

// Loads of so many bytes at once, and at least so many, keep any drive busy. While
// they are under way a large union gives up resident records only for those whose
// next use is nearer: what it has used comes free soon enough.
constexpr uint64_t kBusyBytes = uint64_t{64} << 20;
constexpr int kBusyLoads = 3;

}  // namespace

ExpertPool::Impl::Impl(Options options, RecordLoader* loader, std::unique_ptr<EvictionPolicy> policy)
    : layers_(options.layers),
      experts_(options.experts),
      records_(std::move(options.records)),
      classes_options_(std::move(options.classes)),
      loader_(loader),
      alignment_(loader->alignment_bytes()),
      mapped_(loader->reader().Mapped(0) != nullptr),
      stop_(options.stop),
      policy_(std::move(policy)),
      slot_of_(records_.size(), -1),
      stages_(static_cast<size_t>(experts_), Stage::kNone),
      was_hit_(stages_.size(), 0),
      is_guess_(stages_.size(), 0) {
  union_.reserve(stages_.size());
  arrived_.reserve(stages_.size());
  guesses_.reserve(stages_.size());
  guessed_.reserve(stages_.size());
}

absl::Status ExpertPool::Impl::Allocate() {
  if (mapped_) return absl::OkStatus();
  RETURN_IF_ERROR(CheckClasses());
  classes_.reserve(classes_options_.size());
  for (const SizeClass& size_class : classes_options_) RETURN_IF_ERROR(AllocateClass(size_class));
  keeps_all_ = EachRecordHasASlot();
  return absl::OkStatus();
}

bool ExpertPool::Impl::EachRecordHasASlot() const {
  std::vector<int64_t> left;
  for (const SizeClass& size_class : classes_options_) left.push_back(size_class.slots);
  for (const Record& record : records_) {
    if (--left[ClassFor(classes_options_, SlotBytes(record, alignment_))] < 0) return false;
  }
  return true;
}

absl::Status ExpertPool::Impl::CheckClasses() const {
  for (const SizeClass& size_class : classes_options_) {
    SLUICE_CHECK(size_class.slot_bytes % alignment_ == 0 && size_class.slots >= 0);
  }
  for (const Record& record : records_) {
    const uint64_t bytes = SlotBytes(record, alignment_);
    const int size_class = ClassFor(classes_options_, bytes);
    if (size_class < 0 || classes_options_[size_class].slots < 1) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", record.layer, " expert ", record.expert,
                                                     " needs a slot of ", bytes,
                                                     " bytes and the pool has none; give a larger --ram"));
    }
  }
  return absl::OkStatus();
}

absl::Status ExpertPool::Impl::AllocateClass(const SizeClass& size_class) {
  uint64_t bytes = 0;
  if (!CheckedMul(size_class.slot_bytes, static_cast<uint64_t>(size_class.slots), &bytes)) {
    return absl::ResourceExhaustedError("the expert pool is larger than memory can be; give a smaller --ram");
  }
  ClassState& state = classes_.emplace_back();
  ASSIGN_OR_RETURN(state.memory, AlignedBuffer::Create(bytes, std::max<size_t>(alignment_, 4096)));
  state.first_slot = slots();
  state.slots = size_class.slots;
  state.busy_loads =
      std::max(kBusyLoads, static_cast<int>(std::min<uint64_t>(CeilDiv(kBusyBytes, size_class.slot_bytes), 1 << 20)));
  state.free.reserve(size_class.slots);
  state.victims.reserve(size_class.slots);
  passed_over_.reserve(std::max<size_t>(passed_over_.capacity(), size_class.slots));
  state.pending.reserve(experts_);
  for (int i = 0; i < size_class.slots; ++i) {
    Slot& slot = slots_.emplace_back();
    slot.data = state.memory.data() + size_class.slot_bytes * static_cast<uint64_t>(i);
    slot.size_class = static_cast<int>(classes_.size()) - 1;
    state.free.push_back(state.first_slot + size_class.slots - 1 - i);  // the first slot is used first
  }
  return absl::OkStatus();
}

absl::Status ExpertPool::Impl::Demand(int layer, absl::Span<const int> experts, Delivery delivery) {
  MutexLock lock(&mutex_);
  SLUICE_CHECK(Drained() && failure_.ok() && leases_ == 0);
  SLUICE_CHECK(layer >= 0 && layer < layers_);
  EndDemand();
  policy_->Observe(layer, experts);
  layer_ = layer;
  delivery_ = delivery;
  ForgetGuesses();
  union_.assign(experts.begin(), experts.end());
  for (size_t i = 0; i < union_.size(); ++i) {
    SLUICE_CHECK(union_[i] >= 0 && union_[i] < experts_ && (i == 0 || union_[i - 1] < union_[i]));
    Enter(union_[i]);
  }
  for (ClassState& size_class : classes_) std::reverse(size_class.pending.begin(), size_class.pending.end());
  JudgeGuesses();
  GrantAll(false);
  return absl::OkStatus();
}

void ExpertPool::Impl::Enter(int expert) {
  ++counters_.lookups;
  const int slot = mapped_ ? -1 : slot_of_[Index(layer_, expert)];
  was_hit_[expert] = 0;
  if (slot >= 0 && slots_[slot].state == SlotState::kLoading) {  // a guess on its way
    stages_[expert] = Stage::kLoading;
    LinkLoading(slot);
    loader_->Hurry(GuessToken());
  } else if (mapped_ || slot >= 0) {
    ++counters_.hits;
    was_hit_[expert] = 1;
    stages_[expert] = Stage::kReady;
    arrived_.push_back(expert);
  } else {
    stages_[expert] = Stage::kPending;
    classes_[ClassOfRecord(layer_, expert)].pending.push_back(expert);
  }
}

void ExpertPool::Impl::FreeSlot(int index) {
  Slot& slot = slots_[index];
  slot_of_[Index(slot.layer, slot.expert)] = -1;
  slot.state = SlotState::kFree;
  slot.layer = slot.expert = -1;
  classes_[slot.size_class].free.push_back(index);
}

void ExpertPool::Impl::EndDemand() {
  for (const int expert : union_) stages_[expert] = Stage::kNone;
  union_.clear();
  arrived_.clear();
  delivered_ = 0;
  for (ClassState& size_class : classes_) {
    size_class.pending.clear();
    size_class.victims.clear();
    size_class.victims_known = false;
  }
}

void ExpertPool::Impl::GrantAll(bool urgent) {
  for (ClassState& size_class : classes_) {
    while (!size_class.pending.empty()) {
      const int expert = size_class.pending.back();
      const int slot = TakeSlot(&size_class, expert, urgent && loading_ == 0);
      if (slot < 0) break;  // other classes have slots of their own
      size_class.pending.pop_back();
      StartLoad(slot, expert);
    }
  }
}

int ExpertPool::Impl::TakeSlot(ClassState* size_class, int expert, bool urgent) {
  const double least_score = urgent ? kAnyScore : LeastVictimScore(*size_class, expert);
  const int unused = TakeUnused(size_class, least_score);
  if (unused >= 0 || least_score > kAnyScore) return unused;
  const int guess = TakeGuess(*size_class);
  return guess >= 0 ? guess : TakeBack(size_class, expert, urgent);
}

int ExpertPool::Impl::TakeUnused(ClassState* size_class, double least_score) {
  if (size_class->free.empty()) return TakeVictim(size_class, least_score);
  const int slot = size_class->free.back();
  size_class->free.pop_back();
  return slot;
}

// A sweep of many rows wants nearly all of each layer: what is read for this one
// and used comes round a whole sweep later, after everything else that is
// resident. Evicting that instead would leave no hits at all. Where computing is
// slower than the drive, loads end and more slots join: reads run ahead.
double ExpertPool::Impl::LeastVictimScore(const ClassState& size_class, int expert) const {
  const bool busy = delivery_ == Delivery::kAscending && loading_ >= size_class.busy_loads;
  return busy ? policy_->Score(layer_, expert, layer_) : kAnyScore;
}

int ExpertPool::Impl::TakeVictim(ClassState* size_class, double least_score) {
  KnowVictims(size_class);
  std::vector<Victim>& victims = size_class->victims;
  if (victims.empty() || victims.front().score < least_score) return -1;
  std::pop_heap(victims.begin(), victims.end());
  const int slot = victims.back().slot;
  victims.pop_back();
  SLUICE_DCHECK(Evictable(slots_[slot]));
  Evict(slot);
  return slot;
}

void ExpertPool::Impl::KnowVictims(ClassState* size_class) {
  if (size_class->victims_known) return;
  std::vector<Victim>& victims = size_class->victims;
  for (int i = 0; i < size_class->slots; ++i) {
    const int slot = size_class->first_slot + i;
    if (Evictable(slots_[slot])) victims.push_back(VictimAt(slot));
  }
  std::make_heap(victims.begin(), victims.end());
  size_class->victims_known = true;
}

// In ascending delivery resident experts of high ids may hold every slot while
// a lower one, without which they cannot be delivered, waits for one. The
// highest is given up and queued again.
int ExpertPool::Impl::TakeBack(ClassState* size_class, int expert, bool urgent) {
  if (delivery_ != Delivery::kAscending) return -1;
  if (!urgent && Circulating(*size_class, expert) >= std::min(kCirculatingSlots, size_class->slots)) return -1;
  for (size_t i = union_.size(); i > 0 && union_[i - 1] > expert; --i) {
    const int high = union_[i - 1];
    if (stages_[high] != Stage::kReady) continue;
    const int slot = slot_of_[Index(layer_, high)];
    if (&classes_[slots_[slot].size_class] != size_class) continue;
    Evict(slot);
    counters_.hits -= was_hit_[high];  // it will be read after all
    was_hit_[high] = 0;
    Requeue(high);
    return slot;
  }
  return -1;
}

// Also for a guess that was demanded after it had been given up or had failed.
void ExpertPool::Impl::Requeue(int expert) {
  stages_[expert] = Stage::kPending;
  std::vector<int>& pending = classes_[ClassOfRecord(layer_, expert)].pending;
  pending.insert(std::lower_bound(pending.begin(), pending.end(), expert, std::greater<int>()), expert);
}

int ExpertPool::Impl::Circulating(const ClassState& size_class, int expert) const {
  int count = 0;
  for (int i = 0; i < size_class.slots; ++i) {
    const Slot& slot = slots_[size_class.first_slot + i];
    const bool ready_before = slot.layer == layer_ && slot.expert < expert && stages_[slot.expert] == Stage::kReady;
    if (slot.leased || slot.state == SlotState::kLoading || ready_before) ++count;
  }
  return count;
}

bool ExpertPool::Impl::Evictable(const Slot& slot) const {
  const bool awaited = slot.layer == layer_ && slot.expert >= 0 && stages_[slot.expert] == Stage::kReady;
  return slot.state == SlotState::kResident && !slot.leased && !awaited && !slot.guessed;
}

Victim ExpertPool::Impl::VictimAt(int slot) const {
  return {policy_->Score(slots_[slot].layer, slots_[slot].expert, layer_), slot};
}

// A slot that became evictable after the heap was made.
void ExpertPool::Impl::OfferVictim(int slot) {
  ClassState& size_class = classes_[slots_[slot].size_class];
  if (!size_class.victims_known) return;
  size_class.victims.push_back(VictimAt(slot));
  std::push_heap(size_class.victims.begin(), size_class.victims.end());
}

void ExpertPool::Impl::Evict(int slot) {
  ++counters_.evictions;
  slot_of_[Index(slots_[slot].layer, slots_[slot].expert)] = -1;
  slots_[slot].layer = slots_[slot].expert = -1;
  slots_[slot].state = SlotState::kFree;
}

void ExpertPool::Impl::StartLoad(int slot, int expert) {
  stages_[expert] = Stage::kLoading;
  LinkLoading(slot);
  Load(slot, layer_, expert, LoadPriority::kDemand, static_cast<uint64_t>(slot));
}

void ExpertPool::Impl::Load(int slot, int layer, int expert, LoadPriority priority, uint64_t token) {
  Slot& target = slots_[slot];
  target.state = SlotState::kLoading;
  target.layer = layer;
  target.expert = expert;
  target.rearranged = false;
  slot_of_[Index(layer, expert)] = slot;
  loader_->Load(&RecordOf(target), target.data, priority, this, token);
}

void ExpertPool::Impl::LinkLoading(int slot) {
  ++loading_;
  slots_[slot].earlier = last_loading_;
  slots_[slot].later = -1;
  (last_loading_ >= 0 ? slots_[last_loading_].later : first_loading_) = slot;
  last_loading_ = slot;
}

void ExpertPool::Impl::UnlinkLoading(int slot) {
  --loading_;
  const Slot& gone = slots_[slot];
  if (gone.earlier >= 0) ++counters_.out_of_order_arrivals;
  (gone.earlier >= 0 ? slots_[gone.earlier].later : first_loading_) = gone.later;
  (gone.later >= 0 ? slots_[gone.later].earlier : last_loading_) = gone.earlier;
}

void ExpertPool::Impl::OnLoaded(uint64_t token, absl::Status status) {
  // Told under the mutex: once it is free the waiting thread may destroy us.
  MutexLock lock(&mutex_);
  const int index = static_cast<int>(token & 0xffffffff);
  Slot& slot = slots_[index];
  const bool guess = index == guess_loading_;
  if (guess && (slot.layer != layer_ || stages_[slot.expert] != Stage::kLoading)) {
    OnGuessLoaded(index, status.ok());
    return news_.NotifyAll();
  }
  if (guess) guess_loading_ = -1;
  UnlinkLoading(index);
  if (guess && !status.ok()) {
    Requeue(slot.expert);
    FreeSlot(index);
  } else if (status.ok()) {
    slot.state = SlotState::kResident;
    stages_[slot.expert] = Stage::kReady;
    if (delivery_ == Delivery::kArrival) arrived_.push_back(slot.expert);
  } else {
    const Record& record = RecordOf(slot);
    failure_.Update(absl::Status(
        status.code(), absl::StrCat("layer ", record.layer, " expert ", record.expert, ": ", status.message())));
    FreeSlot(index);
  }
  if (failure_.ok()) GrantAll(false);
  StartGuess();
  news_.NotifyAll();
}

int ExpertPool::Impl::PopDeliverable() {
  if (delivery_ == Delivery::kArrival) return delivered_ < arrived_.size() ? arrived_[delivered_] : -1;
  return stages_[union_[delivered_]] == Stage::kReady ? union_[delivered_] : -1;
}

absl::Status ExpertPool::Impl::AwaitDeliverable(int* expert) {
  int64_t waiting_since_ns = 0;
  absl::Status stopped;
  for (*expert = PopDeliverable(); failure_.ok() && *expert < 0; *expert = PopDeliverable()) {
    GrantAll(loading_ == 0);
    SLUICE_CHECK(loading_ > 0 || guess_loading_ >= 0);  // else the consumer holds every slot and waits for itself
    if (waiting_since_ns == 0) waiting_since_ns = NowNs();
    stopped = stop_.Check();
    if (!stopped.ok()) break;
    stop_.Wait(&news_, &mutex_);
  }
  if (waiting_since_ns != 0) counters_.stall_ns += NowNs() - waiting_since_ns;
  return failure_.ok() ? stopped : failure_;
}

absl::StatusOr<ExpertPool::Impl::Ready> ExpertPool::Impl::NextReady() {
  MutexLock lock(&mutex_);
  Ready ready;
  if (Drained()) return ready;
  RETURN_IF_ERROR(AwaitDeliverable(&ready.expert));
  ready.layer = layer_;
  ready.slot = slot_of_[Index(layer_, ready.expert)];
  stages_[ready.expert] = Stage::kDelivered;
  ++delivered_;
  if (!mapped_) {
    slots_[ready.slot].leased = true;
    ++leases_;
  }
  return ready;
}

void ExpertPool::Impl::Release(int slot) {
  if (mapped_) return;
  MutexLock lock(&mutex_);
  slots_[slot].leased = false;
  --leases_;
  OfferVictim(slot);
  if (failure_.ok()) GrantAll(false);
  StartGuess();
}

void ExpertPool::Impl::Cancel() {
  MutexLock lock(&mutex_);
  for (ClassState& size_class : classes_) size_class.pending.clear();
  ForgetGuesses();
  if (loading_ > 0 || guess_loading_ >= 0) loader_->Discard(this);
  if (guess_loading_ >= 0) loader_->Abandon(GuessToken());
  while (loading_ > 0 || guess_loading_ >= 0) news_.Wait(&mutex_);
  EndDemand();
  failure_ = absl::OkStatus();
}

const uint8_t* ExpertPool::Impl::SliceData(int layer, int expert, int slot, size_t index) const {
  const Record& record = records_[Index(layer, expert)];
  if (mapped_) return loader_->Mapped(record.slices[index]);
  return slots_[slot].data + SliceOffsetInSlot(record, index, alignment_);
}

std::vector<absl::Span<uint8_t>> ExpertPool::Impl::memory_regions() {
  std::vector<absl::Span<uint8_t>> regions;
  for (ClassState& size_class : classes_)
    regions.emplace_back(size_class.memory.data(), size_class.memory.size_bytes());
  return regions;
}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  Release();
  pool_ = std::exchange(other.pool_, nullptr);
  slot_ = other.slot_;
  layer_ = other.layer_;
  expert_ = other.expert_;
  return *this;
}

void Lease::Release() {
  if (pool_ != nullptr) std::exchange(pool_, nullptr)->impl_->Release(slot_);
}

uint8_t* Lease::mutable_slice(size_t index) const {
  return pool_->impl_->MutableSliceData(layer_, expert_, slot_, index);
}
bool Lease::rearranged() const { return pool_->impl_->rearranged(slot_); }
void Lease::set_rearranged() const { pool_->impl_->set_rearranged(slot_); }
const uint8_t* Lease::slice(size_t index) const { return pool_->impl_->SliceData(layer_, expert_, slot_, index); }

ExpertPool::ExpertPool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExpertPool::~ExpertPool() = default;

absl::StatusOr<std::unique_ptr<ExpertPool>> ExpertPool::Create(Options options, RecordLoader* loader,
                                                               std::unique_ptr<EvictionPolicy> policy) {
  SLUICE_CHECK(options.layers >= 1 && options.experts >= 1);
  SLUICE_CHECK(options.records.size() == static_cast<size_t>(options.layers) * static_cast<size_t>(options.experts));
  auto impl = std::make_unique<Impl>(std::move(options), loader, std::move(policy));
  RETURN_IF_ERROR(impl->Allocate());
  return std::unique_ptr<ExpertPool>(new ExpertPool(std::move(impl)));
}

absl::Status ExpertPool::Demand(int layer, absl::Span<const int> experts, Delivery delivery) {
  return impl_->Demand(layer, experts, delivery);
}

absl::StatusOr<absl::optional<Lease>> ExpertPool::NextReady() {
  ASSIGN_OR_RETURN(const Impl::Ready ready, impl_->NextReady());
  if (ready.expert < 0) return absl::optional<Lease>();
  Lease lease;
  lease.pool_ = this;
  lease.slot_ = ready.slot;
  lease.layer_ = ready.layer;
  lease.expert_ = ready.expert;
  return absl::optional<Lease>(std::move(lease));
}

void ExpertPool::Prefetch(int layer, absl::Span<const int> experts, double odds) {
  impl_->Prefetch(layer, experts, odds);
}
void ExpertPool::Cancel() { impl_->Cancel(); }
PoolCounters ExpertPool::counters() const { return impl_->counters(); }
int ExpertPool::slots() const { return impl_->slots(); }
bool ExpertPool::keeps_all() const { return impl_->keeps_all(); }
std::vector<absl::Span<uint8_t>> ExpertPool::memory_regions() { return impl_->memory_regions(); }

}  // namespace sluice
