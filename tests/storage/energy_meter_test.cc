#include "storage/energy_meter.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/scratch_folder.h"

namespace sluice {
namespace {

// A powercap tree made by hand.
class PowerCap {
 public:
  void Set(const std::string& zone, const std::string& file, const std::string& content) {
    std::filesystem::create_directories(folder_.Path(zone));
    std::ofstream(folder_.Path(zone) + "/" + file) << content << "\n";
  }
  void SetEnergy(const std::string& zone, uint64_t microjoules) { Set(zone, "energy_uj", std::to_string(microjoules)); }
  EnergyMeter Meter() const { return EnergyMeter(folder_.path()); }

 private:
  ScratchFolder folder_;
};

TEST_CASE("energy is told since the last time, over all packages") {
  PowerCap cap;
  cap.SetEnergy("intel-rapl:0", 1'000'000);
  cap.SetEnergy("intel-rapl:1", 5'000'000);
  EnergyMeter meter = cap.Meter();
  CHECK(*meter.TakeJoules() == doctest::Approx(0));
  cap.SetEnergy("intel-rapl:0", 3'500'000);
  cap.SetEnergy("intel-rapl:1", 6'000'000);
  CHECK(*meter.TakeJoules() == doctest::Approx(3.5));
  CHECK(*meter.TakeJoules() == doctest::Approx(0));
}

TEST_CASE("parts of packages, other trees and the whole platform are not counted besides") {
  PowerCap cap;
  const char* const others[] = {"intel-rapl:0:0", "intel-rapl-mmio:0", "intel-rapl", "dtpm", "intel-rapl:1"};
  cap.SetEnergy("intel-rapl:0", 0);
  cap.Set("intel-rapl:0", "name", "package-0");
  for (const char* other : others) cap.SetEnergy(other, 0);
  cap.Set("intel-rapl:1", "name", "psys");
  EnergyMeter meter = cap.Meter();
  cap.SetEnergy("intel-rapl:0", 2'000'000);
  for (const char* other : others) cap.SetEnergy(other, 50'000'000);
  CHECK(*meter.TakeJoules() == doctest::Approx(2));
}

TEST_CASE("a counter that has wrapped goes on behind its range") {
  PowerCap cap;
  cap.SetEnergy("intel-rapl:0", 9'000'000);
  cap.Set("intel-rapl:0", "max_energy_range_uj", "10000000");
  EnergyMeter meter = cap.Meter();
  cap.SetEnergy("intel-rapl:0", 500'000);
  CHECK(*meter.TakeJoules() == doctest::Approx(1.5));
}

TEST_CASE("a counter that goes back without a range counts nothing, and counts on from there") {
  PowerCap cap;
  cap.SetEnergy("intel-rapl:0", 9'000'000);
  EnergyMeter meter = cap.Meter();
  cap.SetEnergy("intel-rapl:0", 1'000'000);
  CHECK(*meter.TakeJoules() == doctest::Approx(0));
  cap.SetEnergy("intel-rapl:0", 2'000'000);
  CHECK(*meter.TakeJoules() == doctest::Approx(1));
}

TEST_CASE("a counter that cannot be read for a while loses nothing") {
  PowerCap cap;
  cap.SetEnergy("intel-rapl:0", 1'000'000);
  EnergyMeter meter = cap.Meter();
  cap.Set("intel-rapl:0", "energy_uj", "not a number");
  CHECK(*meter.TakeJoules() == doctest::Approx(0));
  cap.SetEnergy("intel-rapl:0", 4'000'000);
  CHECK(*meter.TakeJoules() == doctest::Approx(3));
}

TEST_CASE("where the system does not tell there is nothing") {
  PowerCap cap;
  CHECK_FALSE(cap.Meter().TakeJoules().has_value());
  CHECK_FALSE(EnergyMeter("/nonexistent/powercap").TakeJoules().has_value());
  cap.Set("intel-rapl:0", "energy_uj", "");
  CHECK_FALSE(cap.Meter().TakeJoules().has_value());
  cap.Set("intel-rapl:0:1", "energy_uj", "5");
  CHECK_FALSE(cap.Meter().TakeJoules().has_value());
}

}  // namespace
}  // namespace sluice
