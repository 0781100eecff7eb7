// What a budget buys on a machine whose rates are known: plan arithmetic, one
// row per sweep, every expert equally likely.
#ifndef SLUICE_SRC_ENGINE_SPEED_ESTIMATE_H_
#define SLUICE_SRC_ENGINE_SPEED_ESTIMATE_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "src/engine/planning.h"

namespace sluice {

struct MachineRates {
  double drive_bytes_per_second = 0;
  double kernel_bytes_per_second = 0;  // of weights, in products with one row
};

struct SpeedEstimate {
  uint64_t ram_bytes = 0;
  uint64_t floor_bytes = 0;
  bool runs = false;  // the budget reaches the floor; else what follows is 0
  uint64_t pinned_bytes = 0;
  int slots = 0;
  double hit_share = 0;  // of the experts a token asks for
  double bytes_per_token = 0;
  double drive_seconds = 0;  // per token
  double compute_seconds = 0;
  double tokens_per_minute = 0;
  absl::string_view limit;  // "drive" or "compute"; "floor" when it does not run
};

// `facts` as for a plan. Real routing repeats itself and reads less.
SpeedEstimate EstimateSpeed(const PlanFacts& facts, const MachineRates& rates, uint64_t ram_bytes);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_SPEED_ESTIMATE_H_
