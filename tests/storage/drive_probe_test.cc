#include "storage/drive_probe.h"

#include <doctest/doctest.h>

#include <deque>
#include <random>
#include <utility>

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

TEST_CASE("every cell that file and reader allow is measured") {
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
    CHECK(steps >= 4);
    for (const DriveRate& rate : profile->grid) {
      CHECK(rate.reads > 0);
      CHECK(rate.bytes_per_second > 0);
      CHECK(rate.bytes_per_second <= profile->best.bytes_per_second);
    }
    CHECK(profile->chosen.bytes_per_second > 0);
  }
}

// A drive of its own time whose speed depends on how it is read.
class MoodyDrive final : public BlockReader {
 public:
  // Bytes per ns of reads of so many bytes, so many at once; `reads` were done before.
  using Speed = std::function<double(uint32_t bytes, size_t depth, uint64_t reads)>;

  MoodyDrive(Speed speed, int64_t* now_ns) : speed_(std::move(speed)), now_ns_(now_ns) {}
  absl::string_view name() const override { return "moody"; }
  bool direct_io() const override { return true; }
  uint32_t alignment_bytes() const override { return 4096; }
  int capacity() const override { return 32; }
  absl::Status Submit(absl::Span<const BlockRead> reads) override {
    flying_.insert(flying_.end(), reads.begin(), reads.end());
    return absl::OkStatus();
  }
  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override {
    const BlockRead read = flying_.front();
    *now_ns_ += static_cast<int64_t>(read.bytes / speed_(read.bytes, flying_.size(), reads_++));
    flying_.pop_front();
    out[0] = {read.tag, static_cast<int32_t>(read.bytes)};
    return 1;
  }
  void Wake() override {}

 private:
  const Speed speed_;
  int64_t* const now_ns_;
  uint64_t reads_ = 0;
  std::deque<BlockRead> flying_;
};

DriveProfile ProbeMoody(MoodyDrive::Speed speed, double seconds = 16) {
  int64_t now_ns = 1;
  DriveProbeOptions options = DriveProbeOptions::Short();
  options.seconds = seconds;
  options.now_ns = [&now_ns] { return now_ns; };
  const std::vector<uint64_t> sizes = {uint64_t{1} << 40};
  const auto profile = ProbeDrive(std::make_unique<MoodyDrive>(std::move(speed), &now_ns), sizes, options);
  REQUIRE_MESSAGE(profile.ok(), profile.status().ToString());
  CHECK(now_ns < static_cast<int64_t>(1.3e9 * seconds) + 10'000'000'000);
  return *profile;
}

bool IsUsual(const DriveProfile& profile) { return profile.pattern().SameAs(ReadPattern()); }

TEST_CASE("on a drive whose speed is all mood the usual pattern stands") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    double mood = 1;
    const DriveProfile profile = ProbeMoody([&](uint32_t, size_t, uint64_t reads) {
      if (reads % 200 == 0) mood = 0.7 + 0.6 * static_cast<double>(random() % 1000) / 1000;
      return mood;
    });
    CHECK(IsUsual(profile));
    CHECK(profile.best.bytes_per_second > 0);
  }
}

TEST_CASE("a pattern that is clearly faster is chosen, one that is a little faster is not") {
  const auto faster_deep = [](double gain) {
    return [gain](uint32_t, size_t depth, uint64_t) { return depth > 16 ? gain : 1.0; };
  };
  const DriveProfile deep = ProbeMoody(faster_deep(1.3));
  CHECK(deep.chosen.depth == 32);
  CHECK(deep.chosen.block_bytes == 256 << 10);  // of equals the one with the fewest bytes in flight
  CHECK(deep.second_look == doctest::Approx(1.3).epsilon(0.05));
  CHECK(IsUsual(ProbeMoody(faster_deep(1.05))));
}

TEST_CASE("a pattern that is faster at first and not when it is looked at again is not chosen") {
  uint64_t deep_reads = 0;
  const DriveProfile profile = ProbeMoody(
      [&deep_reads](uint32_t, size_t depth, uint64_t) { return depth > 16 && ++deep_reads < 20000 ? 2.0 : 1.0; });
  CHECK(profile.second_look > 0);
  CHECK(profile.second_look < DriveProfile::kClearlyFaster);
  CHECK(IsUsual(profile));
}

TEST_CASE("a drive too slow for the grid in time is left at the usual pattern") {
  const DriveProfile profile = ProbeMoody([](uint32_t, size_t depth, uint64_t) { return depth > 16 ? 0.02 : 0.01; }, 2);
  CHECK(IsUsual(profile));
  CHECK(profile.second_look == 0);
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
