#include "storage/expert_pool.h"

#include <algorithm>
#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"

namespace sluice {
namespace {

// Slots of a class that take part in loading before resident experts that wait
// for their turn are given up: one is filled while another is used.
constexpr int kCirculatingSlots = 2;

// A resident record that may leave, and how gladly.
struct Victim {
  double score;
  int slot;
  // Heap order: the largest score on top, the lower slot among equals.
  bool operator<(const Victim& other) const { return score != other.score ? score < other.score : slot > other.slot; }
};

}  // namespace

// The consumer's calls and the I/O thread's OnLoaded meet under one mutex.
class ExpertPool::Impl final : public LoadSink {
 public:
  Impl(Options options, RecordLoader* loader, std::unique_ptr<EvictionPolicy> policy);
  ~Impl() override { Cancel(); }
  absl::Status Allocate();

  absl::Status Demand(int layer, absl::Span<const int> experts, Delivery delivery);
  // The next expert and where it is; -1 as its id when the union is done.
  struct Ready {
    int slot = -1;
    int layer = 0;
    int expert = -1;
  };
  absl::StatusOr<Ready> NextReady();
  void Release(int slot);
  void Cancel();
  void OnLoaded(uint64_t token, absl::Status status) override;

  const uint8_t* SliceData(int layer, int expert, int slot, size_t index) const;
  PoolCounters counters() const {
    MutexLock lock(&mutex_);
    return counters_;
  }
  uint64_t memory_bytes() const;
  int slots() const { return static_cast<int>(slots_.size()); }
  std::vector<absl::Span<uint8_t>> memory_regions();

 private:
  enum class SlotState : uint8_t { kFree, kLoading, kResident };
  struct Slot {
    uint8_t* data = nullptr;
    int size_class = 0;
    SlotState state = SlotState::kFree;
    bool leased = false;
    int layer = -1;
    int expert = -1;
    // Neighbours among the loading slots, in the order they were granted.
    int earlier = -1;
    int later = -1;
  };
  // How far an expert of the layer in demand has come. Outside the union and
  // after delivery an expert is nothing special.
  enum class Stage : uint8_t { kNone, kPending, kLoading, kReady, kDelivered };
  struct ClassState {
    AlignedBuffer memory;
    int first_slot = 0;
    int slots = 0;
    std::vector<int> free;
    std::vector<int> pending;  // experts that need a slot, descending: the next one is last
    // Heap, made at the first shortage of a demand and kept up to its end.
    std::vector<Victim> victims;
    bool victims_known = false;
  };

  size_t Index(int layer, int expert) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(experts_) + static_cast<size_t>(expert);
  }
  const Record& RecordOf(const Slot& slot) const { return records_[Index(slot.layer, slot.expert)]; }
  int ClassOfRecord(int layer, int expert) const {
    return ClassFor(classes_options_, SlotBytes(records_[Index(layer, expert)], alignment_));
  }
  absl::Status CheckClasses() const;
  absl::Status AllocateClass(const SizeClass& size_class);

  void Enter(int expert) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Drained() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return delivered_ == union_.size(); }
  void EndDemand() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int PopDeliverable() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AwaitDeliverable(int* expert) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Gives slots to pending experts as far as there are any. `urgent`: nothing
  // is loading, so that without a grant the consumer would wait for ever.
  void GrantAll(bool urgent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TakeSlot(ClassState* size_class, int expert, bool urgent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TakeVictim(ClassState* size_class) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TakeBack(ClassState* size_class, int expert, bool urgent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int Circulating(const ClassState& size_class, int expert) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Evictable(const Slot& slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Victim VictimAt(int slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Evict(int slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartLoad(int slot, int expert) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LinkLoading(int slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UnlinkLoading(int slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Fixed after Allocate; a slot's data pointer and class too.
  const int layers_;
  const int experts_;
  const std::vector<Record> records_;
  const std::vector<SizeClass> classes_options_;
  RecordLoader* const loader_;
  const uint32_t alignment_;
  const bool mapped_;

  mutable Mutex mutex_;
  CondVar news_;
  const std::unique_ptr<EvictionPolicy> policy_;
  std::vector<ClassState> classes_;
  std::vector<Slot> slots_;
  std::vector<int> slot_of_;  // by Index; -1 when neither resident nor loading
  int first_loading_ = -1;
  int last_loading_ = -1;
  int loading_ = 0;
  int leases_ = 0;

  // The demand.
  int layer_ = 0;
  Delivery delivery_ = Delivery::kArrival;
  std::vector<int> union_;     // ascending
  std::vector<Stage> stages_;  // by expert
  std::vector<int> arrived_;   // kArrival: in the order of delivery
  size_t delivered_ = 0;
  absl::Status failure_;
  PoolCounters counters_;
};

ExpertPool::Impl::Impl(Options options, RecordLoader* loader, std::unique_ptr<EvictionPolicy> policy)
    : layers_(options.layers),
      experts_(options.experts),
      records_(std::move(options.records)),
      classes_options_(std::move(options.classes)),
      loader_(loader),
      alignment_(loader->alignment_bytes()),
      mapped_(loader->reader().Mapped(0) != nullptr),
      policy_(std::move(policy)),
      slot_of_(records_.size(), -1),
      stages_(static_cast<size_t>(experts_), Stage::kNone) {
  union_.reserve(stages_.size());
  arrived_.reserve(stages_.size());
}

absl::Status ExpertPool::Impl::Allocate() {
  if (mapped_) return absl::OkStatus();
  RETURN_IF_ERROR(CheckClasses());
  classes_.reserve(classes_options_.size());
  for (const SizeClass& size_class : classes_options_) RETURN_IF_ERROR(AllocateClass(size_class));
  return absl::OkStatus();
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
  state.free.reserve(size_class.slots);
  state.victims.reserve(size_class.slots);
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
  union_.assign(experts.begin(), experts.end());
  for (size_t i = 0; i < union_.size(); ++i) {
    SLUICE_CHECK(union_[i] >= 0 && union_[i] < experts_ && (i == 0 || union_[i - 1] < union_[i]));
    Enter(union_[i]);
  }
  for (ClassState& size_class : classes_) std::reverse(size_class.pending.begin(), size_class.pending.end());
  GrantAll(false);
  return absl::OkStatus();
}

void ExpertPool::Impl::Enter(int expert) {
  ++counters_.lookups;
  if (mapped_ || slot_of_[Index(layer_, expert)] >= 0) {
    ++counters_.hits;
    stages_[expert] = Stage::kReady;
    arrived_.push_back(expert);
  } else {
    stages_[expert] = Stage::kPending;
    classes_[ClassOfRecord(layer_, expert)].pending.push_back(expert);
  }
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
  if (!size_class->free.empty()) {
    const int slot = size_class->free.back();
    size_class->free.pop_back();
    return slot;
  }
  const int victim = TakeVictim(size_class);
  return victim >= 0 ? victim : TakeBack(size_class, expert, urgent);
}

int ExpertPool::Impl::TakeVictim(ClassState* size_class) {
  std::vector<Victim>& victims = size_class->victims;
  if (!size_class->victims_known) {
    for (int i = 0; i < size_class->slots; ++i) {
      const int slot = size_class->first_slot + i;
      if (Evictable(slots_[slot])) victims.push_back(VictimAt(slot));
    }
    std::make_heap(victims.begin(), victims.end());
    size_class->victims_known = true;
  }
  if (victims.empty()) return -1;
  std::pop_heap(victims.begin(), victims.end());
  const int slot = victims.back().slot;
  victims.pop_back();
  SLUICE_DCHECK(Evictable(slots_[slot]));
  Evict(slot);
  return slot;
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
    --counters_.hits;  // it will be read after all
    stages_[high] = Stage::kPending;
    std::vector<int>& pending = size_class->pending;
    pending.insert(std::lower_bound(pending.begin(), pending.end(), high, std::greater<int>()), high);
    return slot;
  }
  return -1;
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
  return slot.state == SlotState::kResident && !slot.leased && !awaited;
}

Victim ExpertPool::Impl::VictimAt(int slot) const {
  return {policy_->Score(slots_[slot].layer, slots_[slot].expert, layer_), slot};
}

void ExpertPool::Impl::Evict(int slot) {
  ++counters_.evictions;
  slot_of_[Index(slots_[slot].layer, slots_[slot].expert)] = -1;
  slots_[slot].layer = slots_[slot].expert = -1;
  slots_[slot].state = SlotState::kFree;
}

void ExpertPool::Impl::StartLoad(int slot, int expert) {
  Slot& target = slots_[slot];
  target.state = SlotState::kLoading;
  target.layer = layer_;
  target.expert = expert;
  slot_of_[Index(layer_, expert)] = slot;
  stages_[expert] = Stage::kLoading;
  LinkLoading(slot);
  loader_->Load(&RecordOf(target), target.data, LoadPriority::kDemand, this, static_cast<uint64_t>(slot));
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
  const int index = static_cast<int>(token);
  Slot& slot = slots_[index];
  UnlinkLoading(index);
  if (status.ok()) {
    slot.state = SlotState::kResident;
    stages_[slot.expert] = Stage::kReady;
    if (delivery_ == Delivery::kArrival) arrived_.push_back(slot.expert);
  } else {
    const Record& record = RecordOf(slot);
    failure_.Update(absl::Status(
        status.code(), absl::StrCat("layer ", record.layer, " expert ", record.expert, ": ", status.message())));
    slot_of_[Index(slot.layer, slot.expert)] = -1;
    slot.state = SlotState::kFree;
    slot.layer = slot.expert = -1;
    classes_[slot.size_class].free.push_back(index);
  }
  news_.NotifyAll();
}

int ExpertPool::Impl::PopDeliverable() {
  if (delivery_ == Delivery::kArrival) return delivered_ < arrived_.size() ? arrived_[delivered_] : -1;
  return stages_[union_[delivered_]] == Stage::kReady ? union_[delivered_] : -1;
}

absl::Status ExpertPool::Impl::AwaitDeliverable(int* expert) {
  int64_t waiting_since_ns = 0;
  for (*expert = PopDeliverable(); failure_.ok() && *expert < 0; *expert = PopDeliverable()) {
    GrantAll(loading_ == 0);
    SLUICE_CHECK(loading_ > 0);  // else the consumer holds every slot and waits for itself
    if (waiting_since_ns == 0) waiting_since_ns = NowNs();
    news_.Wait(&mutex_);
  }
  if (waiting_since_ns != 0) counters_.stall_ns += NowNs() - waiting_since_ns;
  return failure_;
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
  ClassState& size_class = classes_[slots_[slot].size_class];
  if (size_class.victims_known) {
    size_class.victims.push_back(VictimAt(slot));
    std::push_heap(size_class.victims.begin(), size_class.victims.end());
  }
  if (failure_.ok()) GrantAll(false);
}

void ExpertPool::Impl::Cancel() {
  MutexLock lock(&mutex_);
  for (ClassState& size_class : classes_) size_class.pending.clear();
  if (loading_ > 0) loader_->Discard(this);
  while (loading_ > 0) news_.Wait(&mutex_);
  EndDemand();
  failure_ = absl::OkStatus();
}

const uint8_t* ExpertPool::Impl::SliceData(int layer, int expert, int slot, size_t index) const {
  const Record& record = records_[Index(layer, expert)];
  if (mapped_) return loader_->Mapped(record.slices[index]);
  return slots_[slot].data + SliceOffsetInSlot(record, index, alignment_);
}

uint64_t ExpertPool::Impl::memory_bytes() const {
  uint64_t bytes = 0;
  for (const ClassState& size_class : classes_) bytes += size_class.memory.size_bytes();
  return bytes;
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

const uint8_t* Lease::slice(size_t index) const { return pool_->impl_->SliceData(layer_, expert_, slot_, index); }

ExpertPool::ExpertPool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExpertPool::~ExpertPool() = default;

std::vector<ExpertPool::SizeClass> ExpertPool::ClassesOf(absl::Span<const Record> records, uint32_t alignment) {
  std::map<std::vector<uint64_t>, uint64_t> slot_bytes_by_lengths;
  for (const Record& record : records) {
    std::vector<uint64_t> lengths;
    for (const Slice& slice : record.slices) lengths.push_back(slice.bytes);
    uint64_t& slot_bytes = slot_bytes_by_lengths[std::move(lengths)];
    slot_bytes = std::max(slot_bytes, SlotBytes(record, alignment));
  }
  std::vector<SizeClass> classes;
  for (const auto& [lengths, slot_bytes] : slot_bytes_by_lengths) classes.push_back({slot_bytes, 0});
  std::sort(classes.begin(), classes.end(),
            [](const SizeClass& a, const SizeClass& b) { return a.slot_bytes < b.slot_bytes; });
  const auto same = [](const SizeClass& a, const SizeClass& b) { return a.slot_bytes == b.slot_bytes; };
  classes.erase(std::unique(classes.begin(), classes.end(), same), classes.end());
  return classes;
}

int ExpertPool::ClassFor(absl::Span<const SizeClass> classes, uint64_t slot_bytes) {
  const auto fits = std::lower_bound(classes.begin(), classes.end(), slot_bytes,
                                     [](const SizeClass& a, uint64_t bytes) { return a.slot_bytes < bytes; });
  return fits == classes.end() ? -1 : static_cast<int>(fits - classes.begin());
}

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

void ExpertPool::Cancel() { impl_->Cancel(); }
PoolCounters ExpertPool::counters() const { return impl_->counters(); }
uint64_t ExpertPool::memory_bytes() const { return impl_->memory_bytes(); }
int ExpertPool::slots() const { return impl_->slots(); }
std::vector<absl::Span<uint8_t>> ExpertPool::memory_regions() { return impl_->memory_regions(); }

}  // namespace sluice
