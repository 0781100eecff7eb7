// The bounded memory that holds experts, and the demand for them.
//
// Owns the slots, grouped in size classes, and what is resident in them. One
// consumer thread demands a layer's union and takes leases; the I/O thread
// fills slots. A union larger than the pool is normal: the whole union is
// queued and slots are granted, in ascending id, as leases return. Only leased,
// loading and delivered-but-not-yet-taken slots cannot be evicted, so a
// consumer that finishes each lease before asking for the next never waits for
// itself. Placement never changes a bit of what a slot holds.
#ifndef SLUICE_STORAGE_EXPERT_POOL_H_
#define SLUICE_STORAGE_EXPERT_POOL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "storage/eviction_policy.h"
#include "storage/record.h"
#include "storage/record_loader.h"

namespace sluice {

class ExpertPool;

// The right to read one resident expert. Move-only; returns itself when
// destroyed. Must not outlive the pool.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept { *this = std::move(other); }
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { Release(); }
  void Release();

  int expert() const { return expert_; }
  // First byte of the record's slice `index`, as it stands in the file unless it was rearranged.
  const uint8_t* slice(size_t index) const;
  // Of a pool that keeps_all(), else null: the consumer may put the bytes of the slices into an order of its own, once,
  // and says so; they stay that way.
  uint8_t* mutable_slice(size_t index) const;
  bool rearranged() const;
  void set_rearranged() const;

 private:
  friend class ExpertPool;
  ExpertPool* pool_ = nullptr;
  int slot_ = -1;
  int layer_ = 0;
  int expert_ = 0;
};

// Arrival: as experts become resident, hits first. Ascending: by expert id,
// whatever the order of arrival (large sweeps that sum in place).
enum class Delivery { kArrival, kAscending };

struct PoolCounters {
  uint64_t lookups = 0;  // experts demanded
  uint64_t hits = 0;     // resident when demanded, and not lost before it was used
  uint64_t evictions = 0;
  uint64_t out_of_order_arrivals = 0;  // loads that finished before an earlier-granted one
  int64_t stall_ns = 0;                // the consumer waited in NextReady
  // Guesses that were begun, by what became of them. One that was still on its
  // way when it was demanded is used, but no hit.
  uint64_t prefetches_used = 0;
  uint64_t prefetches_wasted = 0;      // not demanded in their layer, given up half-way, or failed
  int64_t prefetch_used_ns = 0;        // time in which the drive read used guesses and nothing else
  uint64_t prefetch_gained_bytes = 0;  // of used ones, read before they were demanded
  uint64_t prefetch_lost_bytes = 0;    // of wasted ones, in flight when others were demanded
};

class ExpertPool {
 public:
  struct SizeClass {
    uint64_t slot_bytes = 0;
    int slots = 0;
  };
  struct Options {
    int layers = 0;   // MoE layers, numbered from 0
    int experts = 0;  // of each layer
    // records[layer * experts + expert]
    std::vector<Record> records;
    // Ascending slot_bytes. A record lives in the smallest class that fits it.
    std::vector<SizeClass> classes;
    // Raised: NextReady waits no longer, however long the drive takes.
    const std::atomic<bool>* stop = nullptr;
  };

  // The size classes these records need, with 0 slots each: records with equal
  // slice lengths share one, sized for the worst alignment among them.
  static std::vector<SizeClass> ClassesOf(absl::Span<const Record> records, uint32_t alignment);
  // Index into `classes` of the class that a record of `slot_bytes` lives in; -1
  // when it fits none.
  static int ClassFor(absl::Span<const SizeClass> classes, uint64_t slot_bytes);

  // Allocates all slots at once. With a mapping reader no slot is needed and
  // every record counts as resident. Refuses classes that leave a record without
  // a slot. The loader must outlive the pool.
  static absl::StatusOr<std::unique_ptr<ExpertPool>> Create(Options options, RecordLoader* loader,
                                                            std::unique_ptr<EvictionPolicy> policy);
  ~ExpertPool();

  // Queues the union of `layer`: ascending, distinct ids. The previous demand
  // must have been drained or cancelled and its leases returned.
  absl::Status Demand(int layer, absl::Span<const int> experts, Delivery delivery);
  // The next expert in delivery order, or nullopt when the union is done.
  // Blocks while none is ready. A failed read ends the demand with its Status,
  // which every call repeats until Cancel; a raised stop flag is a Cancelled one.
  absl::StatusOr<absl::optional<Lease>> NextReady();
  // Guesses of what the next demand, that of `layer`, will hold, best first, each
  // with a chance of `odds` at least: read one after the other while the drive has
  // nothing better to do, into slots that nobody waits for. What is resident
  // leaves for a guess only when its next use is expected later, when it is no
  // guess itself, and when its layer is not still ahead in this sweep with better
  // odds. Replaces earlier guesses that have not begun. The next Demand keeps
  // those that were right and gives up the rest; a guess that cannot be read is
  // no failure. Does nothing when files are mapped.
  void Prefetch(int layer, absl::Span<const int> experts, double odds);
  // Forgets the rest of the demand; waits for reads in flight, drops queued ones.
  void Cancel();

  PoolCounters counters() const;
  int slots() const;
  // Whether every record has a slot for good, in memory of our own: none is read twice.
  bool keeps_all() const;
  // Where the slots lie, for RecordLoader::RegisterMemory.
  std::vector<absl::Span<uint8_t>> memory_regions();

 private:
  friend class Lease;
  class Impl;
  explicit ExpertPool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_EXPERT_POOL_H_
