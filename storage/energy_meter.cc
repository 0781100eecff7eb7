#include "storage/energy_meter.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/match.h"

namespace sluice {
namespace {

absl::optional<uint64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (file >> number) return number;
  return absl::nullopt;
}

// "intel-rapl:0" is a package, "intel-rapl:0:1" a part of one. The whole platform
// may stand beside the packages, which it contains.
bool IsPackage(const std::filesystem::path& folder) {
  const std::string name = folder.filename().string();
  if (!absl::StartsWith(name, "intel-rapl:") || name.find(':') != name.rfind(':')) return false;
  std::string kind;
  std::ifstream(folder / "name") >> kind;
  return kind != "psys";
}

}  // namespace

EnergyMeter::EnergyMeter(const std::string& folder) {
  std::error_code ignored;
  for (std::filesystem::directory_iterator entry(folder, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    if (!IsPackage(entry->path())) continue;
    Package package;
    package.counter_path = (entry->path() / "energy_uj").string();
    const absl::optional<uint64_t> microjoules = ReadNumber(package.counter_path);
    if (!microjoules.has_value()) continue;
    package.microjoules = *microjoules;
    package.range_microjoules = ReadNumber((entry->path() / "max_energy_range_uj").string()).value_or(0);
    packages_.push_back(package);
  }
}

absl::optional<double> EnergyMeter::TakeJoules() {
  if (packages_.empty()) return absl::nullopt;
  double joules = 0;
  for (Package& package : packages_) {
    const uint64_t now = ReadNumber(package.counter_path).value_or(package.microjoules);
    const uint64_t wrapped = now < package.microjoules ? package.range_microjoules : 0;
    // A counter that goes back for another reason has nothing to tell.
    if (now + wrapped >= package.microjoules) joules += static_cast<double>(now + wrapped - package.microjoules) / 1e6;
    package.microjoules = now;
  }
  return joules;
}

}  // namespace sluice
