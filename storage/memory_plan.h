// The division of the budget, computed before anything large is allocated.
//
// Order of spending: fixed costs (process, KV, activations), the slots without
// which nothing runs, then the trunk pinned in order of use, then expert slots,
// each size class in proportion to the bytes it serves. A budget below the
// floor is refused with the floor in the message.
#ifndef SLUICE_STORAGE_MEMORY_PLAN_H_
#define SLUICE_STORAGE_MEMORY_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "storage/expert_pool.h"

namespace sluice {

struct PlanItem {
  std::string name;
  uint64_t bytes = 0;
};

struct PlanRequest {
  uint64_t budget_bytes = 0;
  std::vector<PlanItem> fixed;
  std::vector<uint64_t> piece_bytes;           // slots of the trunk's pieces, in order of use
  std::vector<ExpertPool::SizeClass> classes;  // slots ignored, slot_bytes at least 1
  std::vector<int> class_records;              // records of each class
  int min_slots = 0;                           // of each class
};

struct MemoryPlan {
  uint64_t budget_bytes = 0;
  uint64_t floor_bytes = 0;
  std::vector<PlanItem> fixed;
  size_t pinned_pieces = 0;  // the first ones
  uint64_t pinned_bytes = 0;
  int stream_slots = 0;
  uint64_t stream_slot_bytes = 0;
  std::vector<ExpertPool::SizeClass> classes;
  uint64_t pool_bytes = 0;
  uint64_t unused_bytes = 0;
  // For people, each may be empty: what the budget was taken from, how the drive is read.
  std::string budget_origin;
  std::string reads;

  // A table for people, one line each.
  std::string ToText() const;
};

// The smallest budget that the request can run in.
uint64_t FloorBytes(const PlanRequest& request);
absl::StatusOr<MemoryPlan> MakePlan(const PlanRequest& request);

}  // namespace sluice

#endif  // SLUICE_STORAGE_MEMORY_PLAN_H_
