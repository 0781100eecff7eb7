// The inside of ExpertPool, for its own files: expert_pool.cc serves demands,
// expert_pool_guesses.cc reads ahead of them.
#ifndef SLUICE_STORAGE_EXPERT_POOL_IMPL_H_
#define SLUICE_STORAGE_EXPERT_POOL_IMPL_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/aligned_buffer.h"
#include "base/mutex.h"
#include "base/stop_flag.h"
#include "storage/expert_pool.h"

namespace sluice {

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
  void Prefetch(int layer, absl::Span<const int> experts, double odds);
  void Cancel();
  void OnLoaded(uint64_t token, absl::Status status) override;

  const uint8_t* SliceData(int layer, int expert, int slot, size_t index) const;
  PoolCounters counters() const {
    MutexLock lock(&mutex_);
    return counters_;
  }
  int slots() const { return static_cast<int>(slots_.size()); }
  bool keeps_all() const { return keeps_all_; }
  uint8_t* MutableSliceData(int layer, int expert, int slot, size_t index) {
    if (!keeps_all_) return nullptr;
    return slots_[slot].data + SliceOffsetInSlot(records_[Index(layer, expert)], index, alignment_);
  }
  bool rearranged(int slot) const { return keeps_all_ && slots_[slot].rearranged; }
  void set_rearranged(int slot) { slots_[slot].rearranged = true; }
  std::vector<absl::Span<uint8_t>> memory_regions();

 private:
  enum class SlotState : uint8_t { kFree, kLoading, kResident };
  struct Slot {
    uint8_t* data = nullptr;
    int size_class = 0;
    SlotState state = SlotState::kFree;
    bool leased = false;
    bool rearranged = false;   // by the consumer, with whom it is while leased
    bool guessed = false;      // read or being read as a guess that no demand has judged
    int64_t guess_ns = 0;      // of it, time in which the drive did nothing else
    uint64_t guess_bytes = 0;  // of it, read before it was demanded
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
    int busy_loads = 0;  // so many at once keep the drive busy
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
  bool EachRecordHasASlot() const;
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
  static constexpr double kAnyScore = -std::numeric_limits<double>::infinity();

  // A free slot, or else that of the victim, if its score is at least so much; -1
  // when there is neither.
  int TakeUnused(ClassState* size_class, double least_score) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TakeVictim(ClassState* size_class, double least_score) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void KnowVictims(ClassState* size_class) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  double LeastVictimScore(const ClassState& size_class, int expert) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TakeGuess(const ClassState& size_class) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TakeBack(ClassState* size_class, int expert, bool urgent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Requeue(int expert) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int Circulating(const ClassState& size_class, int expert) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Evictable(const Slot& slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Victim VictimAt(int slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OfferVictim(int slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Evict(int slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartLoad(int slot, int expert) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Begins the next guess when nothing else is wanted of the drive.
  void StartGuess() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetGuesses() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A slot that is free or whose record may leave for the guess; -1 when there is none.
  int TakeForGuess(ClassState* size_class, int expert) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayLeave(int slot, const Guess& guess) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void JudgeGuesses() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the guess being read has got so far, for its slot.
  void NoteProgress(const IoCounters& io) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndGuess(int slot, bool used) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnGuessLoaded(int slot, bool ok) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FreeSlot(int slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t GuessToken() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return guess_serial_ << 32 | static_cast<uint64_t>(guess_loading_);
  }
  // Gives the slot to the record and queues its load.
  void Load(int slot, int layer, int expert, LoadPriority priority, uint64_t token)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
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
  const StopFlag stop_;
  bool keeps_all_ = false;  // fixed after Allocate

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
  std::vector<int> union_;        // ascending
  std::vector<Stage> stages_;     // by expert
  std::vector<uint8_t> was_hit_;  // by expert: counted as a hit
  std::vector<int> arrived_;      // kArrival: in the order of delivery
  size_t delivered_ = 0;
  absl::Status failure_;
  PoolCounters counters_;

  // Guesses for the next demand.
  int guess_layer_ = 0;
  double guess_odds_ = 0;
  std::vector<int> guesses_;         // not begun, best last
  std::vector<uint8_t> is_guess_;    // by expert of guess_layer_, begun ones and resident ones too
  std::vector<Victim> passed_over_;  // while a victim for a guess is looked for
  std::vector<int> guessed_;         // slots that no demand has judged
  int guess_loading_ = -1;           // the slot of the one that is being read
  uint64_t guess_serial_ = 0;        // tells its load from earlier ones to the same slot
  IoCounters io_before_guess_;       // the loader's, when it began
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_EXPERT_POOL_IMPL_H_
