#include "src/engine/speed_estimate.h"

#include <algorithm>
#include <numeric>

#include "base/checked_math.h"

namespace sluice {
namespace {

// Of all experts as they are read: aligned.
uint64_t ExpertReadBytes(const PlanFacts& facts) {
  uint64_t bytes = 0;
  for (const Record& record : facts.layout->experts) bytes += SlotBytes(record, facts.alignment);
  return bytes;
}

// Pinned trunk is computed while the drive waits for a routing; streamed trunk
// and experts while their neighbours are read.
void AddSeconds(const PlanFacts& facts, const MachineRates& rates, double routed_bytes, SpeedEstimate* estimate) {
  const double trunk_bytes = static_cast<double>(facts.layout->trunk_bytes());
  const double pinned_share = std::min(1.0, Ratio(static_cast<double>(estimate->pinned_bytes), trunk_bytes));
  const double trunk_seconds = Ratio(trunk_bytes, rates.kernel_bytes_per_second);
  const double expert_seconds = Ratio(routed_bytes, rates.kernel_bytes_per_second);
  estimate->drive_seconds = Ratio(estimate->bytes_per_token, rates.drive_bytes_per_second);
  estimate->compute_seconds = trunk_seconds + expert_seconds;
  const double beside_reads = expert_seconds + (1 - pinned_share) * trunk_seconds;
  const double seconds = pinned_share * trunk_seconds + std::max(estimate->drive_seconds, beside_reads);
  estimate->tokens_per_minute = Ratio(60, seconds);
  estimate->limit = estimate->drive_seconds >= estimate->compute_seconds ? "drive" : "compute";
}

}  // namespace

SpeedEstimate EstimateSpeed(const PlanFacts& facts, const MachineRates& rates, uint64_t ram_bytes) {
  SpeedEstimate estimate;
  estimate.ram_bytes = ram_bytes;
  const ForwardLimits limits = GrantLimits(facts, {1, 1}, ram_bytes);
  PlanRequest request = MakeRequest(facts, limits);
  request.budget_bytes = ram_bytes;
  estimate.floor_bytes = FloorBytes(request);
  const absl::StatusOr<MemoryPlan> plan = MakePlan(request);
  estimate.runs = plan.ok();
  estimate.limit = "floor";
  if (!plan.ok()) return estimate;
  const double trunk_bytes =
      static_cast<double>(std::accumulate(request.piece_bytes.begin(), request.piece_bytes.end(), uint64_t{0}));
  const double records = static_cast<double>(facts.layout->experts.size());
  for (const ExpertPool::SizeClass& size_class : plan->classes) estimate.slots += size_class.slots;
  estimate.pinned_bytes = plan->pinned_bytes;
  estimate.hit_share = std::min(1.0, Ratio(estimate.slots, records));
  const RoutingConfig& routing = facts.config->routing;
  const double routed_bytes = Ratio(static_cast<double>(ExpertReadBytes(facts)) * routing.top_k, routing.experts);
  const double streamed_bytes = std::max(0.0, trunk_bytes - static_cast<double>(plan->pinned_bytes));
  estimate.bytes_per_token = streamed_bytes + routed_bytes * (1 - estimate.hit_share);
  AddSeconds(facts, rates, routed_bytes, &estimate);
  return estimate;
}

}  // namespace sluice
