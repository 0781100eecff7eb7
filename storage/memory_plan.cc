#include "storage/memory_plan.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/checked_math.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
// Page tables take 8 bytes per 4 KiB page: memory that a cgroup counts though no
// resident page shows it.
constexpr uint64_t kPageTableShare = 512;
constexpr int kMinStreamSlots = 2;
// Beyond this look-ahead a streamed trunk gains nothing: the reads of some
// layers are in flight while one computes.
constexpr int kMaxStreamSlots = 8;

uint64_t FixedBytes(const PlanRequest& request) {
  uint64_t bytes = 0;
  for (const PlanItem& item : request.fixed) bytes = SaturatingAdd(bytes, item.bytes);
  return bytes;
}

uint64_t LargestPiece(const PlanRequest& request) {
  uint64_t bytes = 0;
  for (uint64_t piece : request.piece_bytes) bytes = std::max(bytes, piece);
  return bytes;
}

uint64_t TrunkBytes(const PlanRequest& request) {
  uint64_t bytes = 0;
  for (uint64_t piece : request.piece_bytes) bytes = SaturatingAdd(bytes, piece);
  return bytes;
}

int MinSlots(const PlanRequest& request, size_t c) { return std::min(request.min_slots, request.class_records[c]); }

uint64_t MinPoolBytes(const PlanRequest& request) {
  uint64_t bytes = 0;
  for (size_t c = 0; c < request.classes.size(); ++c) {
    bytes = SaturatingAdd(bytes, SaturatingMul(request.classes[c].slot_bytes, MinSlots(request, c)));
  }
  return bytes;
}

// A trunk smaller than its two stream slots is simply pinned.
uint64_t MinTrunkBytes(const PlanRequest& request) {
  return std::min(TrunkBytes(request), SaturatingMul(kMinStreamSlots, LargestPiece(request)));
}

// Pins pieces in order of use; what cannot be pinned streams through slots.
void PlaceTrunk(const PlanRequest& request, uint64_t available_bytes, MemoryPlan* plan) {
  const uint64_t trunk_bytes = TrunkBytes(request);
  if (trunk_bytes <= available_bytes) {
    plan->pinned_pieces = request.piece_bytes.size();
    plan->pinned_bytes = trunk_bytes;
    return;
  }
  plan->stream_slot_bytes = LargestPiece(request);
  // Look-ahead may take up to a quarter of what there is beyond the floor.
  const uint64_t spare = available_bytes - kMinStreamSlots * plan->stream_slot_bytes;
  const int extra =
      static_cast<int>(std::min<uint64_t>(spare / 4 / plan->stream_slot_bytes, kMaxStreamSlots - kMinStreamSlots));
  plan->stream_slots = kMinStreamSlots + extra;
  uint64_t left = available_bytes - plan->stream_slots * plan->stream_slot_bytes;
  for (uint64_t piece : request.piece_bytes) {
    if (piece > left) break;
    left -= piece;
    plan->pinned_bytes += piece;
    ++plan->pinned_pieces;
  }
}

uint64_t PoolBytes(const MemoryPlan& plan) {
  uint64_t bytes = 0;
  for (const ExpertPool::SizeClass& c : plan.classes) bytes += c.slot_bytes * c.slots;
  return bytes;
}

// Gives class `c` up to `wanted` more slots, as many as fit; returns their bytes.
uint64_t AddSlots(int wanted, uint64_t left_bytes, MemoryPlan* plan, size_t c) {
  ExpertPool::SizeClass& size_class = plan->classes[c];
  const uint64_t slots = std::min<uint64_t>(wanted, left_bytes / size_class.slot_bytes);
  size_class.slots += static_cast<int>(slots);
  return slots * size_class.slot_bytes;
}

// Each class gets its minimum, then the same share of its other records, then
// what rounding left over.
void PlaceExperts(const PlanRequest& request, uint64_t available_bytes, MemoryPlan* plan) {
  double wanted_bytes = 0;
  for (size_t c = 0; c < request.classes.size(); ++c) {
    const int beyond_minimum = request.class_records[c] - MinSlots(request, c);
    wanted_bytes += static_cast<double>(request.classes[c].slot_bytes) * beyond_minimum;
  }
  uint64_t left_bytes = available_bytes - MinPoolBytes(request);
  const double share = wanted_bytes == 0 ? 0 : std::min(1.0, static_cast<double>(left_bytes) / wanted_bytes);
  for (size_t c = 0; c < request.classes.size(); ++c) {
    const int minimum = MinSlots(request, c);
    plan->classes.push_back({request.classes[c].slot_bytes, minimum});
    left_bytes -= AddSlots(static_cast<int>(share * (request.class_records[c] - minimum)), left_bytes, plan, c);
  }
  for (size_t c = 0; c < plan->classes.size(); ++c) {
    left_bytes -= AddSlots(request.class_records[c] - plan->classes[c].slots, left_bytes, plan, c);
  }
  plan->pool_bytes = PoolBytes(*plan);
}

std::string Line(absl::string_view name, uint64_t bytes, absl::string_view note) {
  return absl::StrFormat("  %-28s %10.1f MiB%s%s\n", name, static_cast<double>(bytes) / kMiB, note.empty() ? "" : "  ",
                         note);
}

}  // namespace

uint64_t FloorBytes(const PlanRequest& request) {
  const uint64_t needed =
      SaturatingAdd(SaturatingAdd(FixedBytes(request), MinPoolBytes(request)), MinTrunkBytes(request));
  constexpr uint64_t kRest = kPageTableShare - 1;
  return SaturatingAdd(needed, needed / kRest + (needed % kRest != 0));
}

absl::StatusOr<MemoryPlan> MakePlan(const PlanRequest& request) {
  MemoryPlan plan;
  plan.budget_bytes = request.budget_bytes;
  plan.floor_bytes = FloorBytes(request);
  plan.fixed = request.fixed;
  // A floor that does not fit is above every budget.
  if (request.budget_bytes < plan.floor_bytes || plan.floor_bytes == std::numeric_limits<uint64_t>::max()) {
    const uint64_t floor_mib = plan.floor_bytes / kMiB + (plan.floor_bytes % kMiB != 0);
    return absl::ResourceExhaustedError(absl::StrFormat(
        "the budget of %d bytes is below the floor of %d bytes (%d MiB) for this model, context and batch; give --ram "
        "%dM or more, or a smaller context",
        request.budget_bytes, plan.floor_bytes, floor_mib, floor_mib));
  }
  const uint64_t page_table_bytes = request.budget_bytes / kPageTableShare;
  plan.fixed.push_back({"page tables", page_table_bytes});
  const uint64_t available = request.budget_bytes - page_table_bytes - FixedBytes(request);
  PlaceTrunk(request, available - MinPoolBytes(request), &plan);
  const uint64_t trunk_bytes = plan.pinned_bytes + plan.stream_slots * plan.stream_slot_bytes;
  PlaceExperts(request, available - trunk_bytes, &plan);
  plan.unused_bytes = available - trunk_bytes - plan.pool_bytes;
  return plan;
}

std::string MemoryPlan::ToText() const {
  std::string text = absl::StrFormat("budget %.1f MiB%s, floor %.1f MiB\n", static_cast<double>(budget_bytes) / kMiB,
                                     budget_origin.empty() ? "" : absl::StrCat(" (", budget_origin, ")"),
                                     static_cast<double>(floor_bytes) / kMiB);
  for (const PlanItem& item : fixed) absl::StrAppend(&text, Line(item.name, item.bytes, ""));
  absl::StrAppend(&text, Line("trunk, pinned", pinned_bytes, absl::StrCat(pinned_pieces, " pieces")));
  absl::StrAppend(&text,
                  Line("trunk, streaming", stream_slots * stream_slot_bytes, absl::StrCat(stream_slots, " slots")));
  for (const ExpertPool::SizeClass& c : classes) {
    absl::StrAppend(&text, Line("expert slots", c.slots * c.slot_bytes,
                                absl::StrFormat("%d of %.1f MiB", c.slots, static_cast<double>(c.slot_bytes) / kMiB)));
  }
  absl::StrAppend(&text, Line("unused", unused_bytes, ""));
  if (!reads.empty()) absl::StrAppendFormat(&text, "  %-28s %s\n", "reads", reads);
  return text;
}

}  // namespace sluice
