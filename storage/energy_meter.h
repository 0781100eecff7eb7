// What the processor has consumed, where the system tells (Linux: the powercap
// tree of RAPL, which only root may read on most systems).
#ifndef SLUICE_STORAGE_ENERGY_METER_H_
#define SLUICE_STORAGE_ENERGY_METER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/optional.h"

namespace sluice {

class EnergyMeter {
 public:
  // Finds the packages below `folder` and notes where their counters stand.
  explicit EnergyMeter(const std::string& folder = "/sys/class/powercap");

  // Joules since the last call, or since creation; nothing where the system does
  // not tell. Counters wrap: call at least every few minutes.
  absl::optional<double> TakeJoules();

 private:
  struct Package {
    std::string counter_path;
    uint64_t range_microjoules = 0;
    uint64_t microjoules = 0;
  };

  std::vector<Package> packages_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_ENERGY_METER_H_
