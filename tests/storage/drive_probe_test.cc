#include "storage/drive_probe.h"

#include <doctest/doctest.h>

#include "storage/faulty_block_reader.h"
#include "tests/storage/scratch_files.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = 1 << 20;

DriveProbeOptions Quick() {
  DriveProbeOptions options;
  options.block_bytes = {64 << 10, 256 << 10, 4 << 20};
  options.depths = {1, 3, 64};
  options.seconds = 0.2;
  return options;
}

TEST_CASE("every cell that file and reader allow is measured, and the choice is nearly the best") {
  const ScratchFiles files({2 * kMiB, 100 << 10});
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    if (backend == IoBackend::kMmap) continue;
    int steps = 0;
    DriveProbeOptions options = Quick();
    options.progress = [&](int done, int total) {
      CHECK(done == ++steps);
      CHECK(done <= total);
    };
    const auto profile = ProbeDrive(OpenOrDie(backend, files.paths(), 8), files.sizes(), options);
    REQUIRE_MESSAGE(profile.ok(), profile.status().ToString());
    REQUIRE(profile->grid.size() == 4);  // blocks of 4 MiB and a depth of 64 do not fit
    CHECK(steps > 4);
    for (const DriveRate& rate : profile->grid) {
      CHECK(rate.reads > 0);
      CHECK(rate.bytes_per_second > 0);
      CHECK(rate.bytes_per_second <= profile->best.bytes_per_second);
    }
    CHECK(profile->chosen.bytes_per_second >= 0.9 * profile->best.bytes_per_second);
    CHECK(uint64_t{profile->chosen.block_bytes} * static_cast<uint64_t>(profile->chosen.depth) <=
          uint64_t{profile->best.block_bytes} * static_cast<uint64_t>(profile->best.depth));
  }
}

TEST_CASE("however short the time, every cell is measured") {
  const ScratchFiles files({2 * kMiB});
  DriveProbeOptions options = Quick();
  options.seconds = 0;
  const auto profile = ProbeDrive(OpenOrDie(IoBackend::kPread, files.paths(), 8), files.sizes(), options);
  REQUIRE(profile.ok());
  REQUIRE(profile->grid.size() == 4);
  for (const DriveRate& rate : profile->grid) CHECK(rate.bytes_per_second > 0);
}

TEST_CASE("a file smaller than every block is refused") {
  const ScratchFiles files({5000});
  const auto profile = ProbeDrive(OpenOrDie(IoBackend::kPread, files.paths(), 8), files.sizes(), Quick());
  CHECK(absl::IsInvalidArgument(profile.status()));
  CHECK(profile.status().message().find("5000 bytes") != std::string::npos);
}

TEST_CASE("a drive that fails is reported, in the middle of the grid too") {
  const ScratchFiles files({2 * kMiB});
  for (const uint64_t number : {1, 5, 9}) {
    FaultScript script;
    script.fail_read = number;
    auto reader = std::make_unique<FaultyBlockReader>(OpenOrDie(IoBackend::kPread, files.paths(), 8), script);
    CHECK(absl::IsUnavailable(ProbeDrive(std::move(reader), files.sizes(), Quick()).status()));
  }
  FaultScript script;
  script.break_reap = 4;
  auto reader = std::make_unique<FaultyBlockReader>(OpenOrDie(IoBackend::kPread, files.paths(), 8), script);
  CHECK_FALSE(ProbeDrive(std::move(reader), files.sizes(), Quick()).ok());
}

TEST_CASE("completions out of order and short reads are counted as they come") {
  const ScratchFiles files({2 * kMiB});
  FaultScript script;
  script.shorten_every = 3;
  script.hold_back = 2;
  auto reader = std::make_unique<FaultyBlockReader>(OpenOrDie(IoBackend::kPread, files.paths(), 8), script);
  CHECK(ProbeDrive(std::move(reader), files.sizes(), Quick()).ok());
}

TEST_CASE("an interrupt ends the measurement") {
  const ScratchFiles files({2 * kMiB});
  const std::atomic<bool> stop{true};
  DriveProbeOptions options = Quick();
  options.seconds = 3600;
  options.stop = &stop;
  const auto profile = ProbeDrive(OpenOrDie(IoBackend::kPread, files.paths(), 8), files.sizes(), options);
  CHECK(absl::IsCancelled(profile.status()));
}

}  // namespace
}  // namespace sluice
