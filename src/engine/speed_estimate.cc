#include "src/engine/speed_estimate.h"

#include <algorithm>

namespace sluice {
namespace {

double Quotient(double numerator, double denominator) { return denominator > 0 ? numerator / denominator : 0; }

// As they are read: aligned.
uint64_t ReadBytes(const PlanFacts& facts, absl::Span<const Record> records) {
  uint64_t bytes = 0;
  for (const Record& record : records) bytes += SlotBytes(record, facts.alignment);
  return bytes;
}

uint64_t TrunkReadBytes(const PlanFacts& facts) {
  uint64_t bytes = 0;
  for (const TrunkPiece& piece : facts.layout->pieces) bytes += SlotBytes(piece.record, facts.alignment);
  return bytes;
}

// Pinned trunk is computed while the drive waits for a routing; streamed trunk
// and experts while their neighbours are read.
void AddSeconds(const PlanFacts& facts, const MachineRates& rates, double routed_bytes, SpeedEstimate* estimate) {
  const double trunk_bytes = static_cast<double>(facts.layout->trunk_bytes());
  const double pinned_share = std::min(1.0, Quotient(static_cast<double>(estimate->pinned_bytes), trunk_bytes));
  const double trunk_seconds = Quotient(trunk_bytes, rates.kernel_bytes_per_second);
  const double expert_seconds = Quotient(routed_bytes, rates.kernel_bytes_per_second);
  estimate->drive_seconds = Quotient(estimate->bytes_per_token, rates.drive_bytes_per_second);
  estimate->compute_seconds = trunk_seconds + expert_seconds;
  const double beside_reads = expert_seconds + (1 - pinned_share) * trunk_seconds;
  const double seconds = pinned_share * trunk_seconds + std::max(estimate->drive_seconds, beside_reads);
  estimate->tokens_per_minute = Quotient(60, seconds);
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
  const double trunk_bytes = static_cast<double>(TrunkReadBytes(facts));
  const double records = static_cast<double>(facts.layout->experts.size());
  for (const ExpertPool::SizeClass& size_class : plan->classes) estimate.slots += size_class.slots;
  estimate.pinned_bytes = plan->pinned_bytes;
  estimate.hit_share = std::min(1.0, Quotient(estimate.slots, records));
  const RoutingConfig& routing = facts.config->routing;
  const double routed_bytes =
      Quotient(static_cast<double>(ReadBytes(facts, facts.layout->experts)) * routing.top_k, routing.experts);
  const double streamed_bytes = std::max(0.0, trunk_bytes - static_cast<double>(plan->pinned_bytes));
  estimate.bytes_per_token = streamed_bytes + routed_bytes * (1 - estimate.hit_share);
  AddSeconds(facts, rates, routed_bytes, &estimate);
  return estimate;
}

}  // namespace sluice
