// Guessing on a simulated drive: the real pool, loader, policy and gate on a clock
// that only the test moves. What guesses cost and gain is the same in every run.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "prefetch/guess_gate.h"
#include "prefetch/policies.h"
#include "prefetch/predictor.h"
#include "prefetch/replay.h"
#include "prefetch/routing_trace.h"
#include "storage/expert_pool.h"
#include "tests/storage/simulated_drive.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr int64_t kLatencyNs = 100'000;
constexpr double kComputeBytesPerNs = 10;

// Which experts each layer chooses, sweep after sweep.
struct Routing {
  int layers = 0;
  int experts = 0;
  int top_k = 0;
  std::vector<std::vector<int>> events;

  int LayerOf(size_t event) const { return static_cast<int>(event % static_cast<size_t>(layers)); }
};

std::vector<int> RandomUnion(int experts, int count, std::mt19937* random) {
  std::vector<int> ids(static_cast<size_t>(experts));
  std::iota(ids.begin(), ids.end(), 0);
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) std::swap(ids[i], ids[i + (*random)() % (ids.size() - i)]);
  ids.resize(static_cast<size_t>(count));
  std::sort(ids.begin(), ids.end());
  return ids;
}

Routing UniformRouting(int layers, int experts, int top_k, int sweeps) {
  Routing routing = {layers, experts, top_k, {}};
  std::mt19937 random(1);
  for (int i = 0; i < sweeps * layers; ++i) routing.events.push_back(RandomUnion(experts, top_k, &random));
  return routing;
}

RoutingTrace ReadTrace(const std::string& name, size_t tokens) {
  const auto text = DecompressZstd(ReadFileToString(SharedPath("traces/" + name)), uint64_t{1} << 30);
  REQUIRE(text.ok());
  auto trace = RoutingTrace::Parse(*text, tokens);
  REQUIRE_MESSAGE(trace.ok(), trace.status().ToString());
  return *std::move(trace);
}

Routing RoutingOf(const RoutingTrace& trace) {
  Routing routing = {trace.layers(), trace.experts(), trace.top_k(), {}};
  for (size_t i = 0; i < trace.events(); ++i) {
    routing.events.emplace_back(trace.EventExperts(i).begin(), trace.EventExperts(i).end());
  }
  return routing;
}

// Guesses of which so many come true.
class GuessMaker {
 public:
  GuessMaker(const Routing& routing, double accuracy) : routing_(routing), accuracy_(accuracy) {}

  std::vector<int> For(size_t event) {
    const std::vector<int>& truth = routing_.events[event];
    std::vector<int> guesses;
    for (const int expert : truth) guesses.push_back(Chance() < accuracy_ ? expert : Wrong(truth, guesses));
    for (size_t i = guesses.size(); i > 1; --i) std::swap(guesses[i - 1], guesses[random_() % i]);
    return guesses;
  }

 private:
  double Chance() { return static_cast<double>(random_() >> 8) / (1 << 24); }
  int Wrong(const std::vector<int>& truth, const std::vector<int>& guesses) {
    for (;;) {
      const int expert = static_cast<int>(random_() % static_cast<unsigned>(routing_.experts));
      const bool taken =
          std::count(truth.begin(), truth.end(), expert) + std::count(guesses.begin(), guesses.end(), expert);
      if (!taken) return expert;
    }
  }

  const Routing& routing_;
  const double accuracy_;
  std::mt19937 random_{2};
};

struct Setup {
  double drive_bytes_per_second = 1e9;
  uint64_t slice_bytes = 8 * kMiB;  // three make an expert
  int slots = 0;
  // What a layer computes before its routing, as a share of what its experts take.
  double trunk_share = 0.8;
};

// The pool as an engine drives it, one row per sweep.
class Simulation {
 public:
  Simulation(const Routing& routing, const Setup& setup) : routing_(routing), setup_(setup) {
    auto drive = std::make_unique<SimulatedDrive>(setup.drive_bytes_per_second, kLatencyNs);
    drive_ = drive.get();
    loader_ = RecordLoader::Start(std::move(drive), {"model"}, {uint64_t{1} << 62}, {});
    ExpertPool::Options options;
    options.layers = routing.layers;
    options.experts = routing.experts;
    for (uint64_t i = 0; i < static_cast<uint64_t>(routing.layers * routing.experts); ++i) {
      Record record;
      for (uint64_t s = 0; s < 3; ++s) record.slices.push_back({0, (3 * i + s) * setup.slice_bytes, setup.slice_bytes});
      options.records.push_back(std::move(record));
    }
    options.classes = ExpertPool::ClassesOf(options.records, loader_->alignment_bytes());
    REQUIRE(options.classes.size() == 1);
    options.classes[0].slots = setup.slots;
    // NextReady never blocks: where it would, the clock moves on to the next completion.
    options.stop = &stop_;
    auto pool = ExpertPool::Create(std::move(options), loader_.get(),
                                   MakeExpectedDistancePolicy(routing.layers, routing.experts));
    REQUIRE_MESSAGE(pool.ok(), pool.status().ToString());
    pool_ = *std::move(pool);
  }
  ~Simulation() { Rest(); }

  // Lets everything that is under way come to its end.
  void Rest() {
    drive_->Settle();
    while (drive_->Step()) {
    }
  }

  void Compute(double bytes) { drive_->AdvanceBy(static_cast<int64_t>(bytes / kComputeBytesPerNs)); }

  void Demand(size_t event) {
    Compute(setup_.trunk_share * expert_bytes() * routing_.top_k);
    REQUIRE(pool_->Demand(routing_.LayerOf(event), routing_.events[event], Delivery::kArrival).ok());
    drive_->Settle();
    Compute(expert_bytes());  // the shared expert
  }

  void Guess(size_t event, const std::vector<int>& guesses, double odds) {
    pool_->Prefetch(routing_.LayerOf(event), guesses, odds);
    drive_->Settle();
  }

  void UseExperts() {
    for (;;) {
      auto lease = pool_->NextReady();
      if (!lease.ok()) {
        REQUIRE(absl::IsCancelled(lease.status()));
        REQUIRE(drive_->Step());
        continue;
      }
      if (!lease->has_value()) return;
      Compute(expert_bytes());
      (*lease)->Release();
      drive_->Settle();
    }
  }

  int64_t now_ns() const { return drive_->now_ns(); }
  PoolCounters counters() const { return pool_->counters(); }

 private:
  double expert_bytes() const { return 3.0 * static_cast<double>(setup_.slice_bytes); }

  const Routing& routing_;
  const Setup setup_;
  const std::atomic<bool> stop_{true};
  SimulatedDrive* drive_ = nullptr;  // the loader's
  std::unique_ptr<RecordLoader> loader_;
  std::unique_ptr<ExpertPool> pool_;
};

struct Outcome {
  int64_t ns = 0;
  PoolCounters counters;
};

// `guesses` null: none are made.
Outcome Run(const Routing& routing, const Setup& setup, GuessMaker* guesses) {
  Simulation simulation(routing, setup);
  GuessGate gate;
  for (size_t event = 0; event < routing.events.size(); ++event) {
    simulation.Demand(event);
    // As the engine: one row's guess goes no further than the sweep.
    const bool has_next = event + 1 < routing.events.size() && routing.LayerOf(event + 1) > 0;
    const PoolCounters counters = simulation.counters();
    if (guesses != nullptr &&
        gate.Open({counters.prefetches_used, counters.prefetches_wasted, counters.prefetch_gained_bytes,
                   counters.prefetch_lost_bytes}) &&
        has_next) {
      simulation.Guess(event + 1, guesses->For(event + 1), gate.usefulness());
    }
    simulation.UseExperts();
  }
  return {simulation.now_ns(), simulation.counters()};
}

constexpr std::array<double, 6> kDrives = {0.5e9, 1e9, 2e9, 5e9, 10e9, 20e9};

// Runs all drives and accuracies; returns the largest share of time saved.
double CheckNeverSlower(const std::string& name, const Routing& routing, Setup setup,
                        const std::vector<double>& accuracies) {
  double most_saved = 0;
  for (const double drive : kDrives) {
    setup.drive_bytes_per_second = drive;
    const Outcome without = Run(routing, setup, nullptr);
    CHECK(without.counters.prefetches_used + without.counters.prefetches_wasted == 0);
    CHECK(without.counters.hits < without.counters.lookups);
    std::string line = absl::StrFormat("%s at %.1f:", name, drive / 1e9);
    for (const double accuracy : accuracies) {
      GuessMaker guesses(routing, accuracy);
      const Outcome with = Run(routing, setup, &guesses);
      CAPTURE(drive);
      CAPTURE(accuracy);
      const double ratio = static_cast<double>(with.ns) / static_cast<double>(without.ns);
      CHECK(ratio <= 1.01);
      CHECK(with.counters.prefetches_used + with.counters.prefetches_wasted > 0);
      most_saved = std::max(most_saved, 1 - ratio);
      absl::StrAppendFormat(&line, " %.4f(%d,%d)", ratio, with.counters.prefetches_used,
                            with.counters.prefetches_wasted);
    }
    MESSAGE(line);
  }
  return most_saved;
}

const std::vector<double> kAccuracies = {0, 0.1, 0.2, 0.3, 0.5, 0.75, 1};

TEST_CASE("with even routing guesses never cost a hundredth of the time, and good ones save some") {
  Setup setup;
  const Routing routing = UniformRouting(6, 32, 4, 40);
  setup.slots = 6 * 32 / 8;
  CHECK(CheckNeverSlower("large experts", routing, setup, kAccuracies) > 0.05);
}

TEST_CASE("small experts, of which a wrong guess delays more than its share, lose nothing either") {
  Setup setup;
  setup.slice_bytes = 2 * kMiB;
  const Routing routing = UniformRouting(6, 32, 4, 100);
  setup.slots = 6 * 32 / 8;
  CHECK(CheckNeverSlower("small experts", routing, setup, kAccuracies) > 0.05);
}

TEST_CASE("a pool of few slots is not robbed by guesses") {
  Setup setup;
  setup.slice_bytes = 4 * kMiB;
  const Routing routing = UniformRouting(6, 32, 4, 60);
  setup.slots = 5;
  CheckNeverSlower("five slots", routing, setup, {0, 0.3, 0.6, 1});
}

TEST_CASE("on recorded routings guesses never cost a hundredth of the time") {
  SKIP_WITHOUT_SHARED("traces");
  double most_saved = 0;
  for (const char* name :
       {"kimi-linear-decode.jsonl.zst", "deepseek-v2-lite-summary.jsonl.zst", "qwen3-30b-a3b-top6.jsonl.zst"}) {
    const Routing routing = RoutingOf(ReadTrace(name, 15));
    Setup setup;
    setup.slice_bytes = 4 * kMiB;
    setup.slots = routing.layers * routing.experts / 8;
    most_saved = std::max(most_saved, CheckNeverSlower(name, routing, setup, {0, 0.3, 0.8}));
  }
  CHECK(most_saved > 0.02);
}

// Guesses that all come in time, so that the drive plays no part.
PoolCounters RunInTime(const Routing& routing, const Setup& setup, Predictor* predictor, double odds) {
  Simulation simulation(routing, setup);
  std::vector<int> guesses;
  for (size_t event = 0; event < routing.events.size(); ++event) {
    simulation.Demand(event);
    simulation.UseExperts();
    predictor->Observe(routing.LayerOf(event), routing.events[event]);
    if (event + 1 == routing.events.size()) break;
    predictor->Predict(routing.LayerOf(event + 1), routing.top_k, &guesses);
    simulation.Guess(event + 1, guesses, odds);
    simulation.Rest();
  }
  return simulation.counters();
}

TEST_CASE("with guesses the pool counts the hits of its replay, within two percentage points") {
  SKIP_WITHOUT_SHARED("traces");
  uint64_t used = 0;
  for (const std::string name : {"deepseek-v2-lite-summary.jsonl.zst", "qwen3-30b-a3b-top6.jsonl.zst"}) {
    const RoutingTrace trace = ReadTrace(name, 60);
    const Routing routing = RoutingOf(trace);
    for (const double odds : {0.0, 0.6}) {
      Setup setup;
      setup.slice_bytes = 4096;
      setup.slots = routing.layers * routing.experts / 10;
      const auto counted = RunInTime(routing, setup, MakePreviousPredictor(routing.layers).get(), odds);
      const auto policy = MakeExpectedDistancePolicy(routing.layers, routing.experts);
      const auto predictor = MakePreviousPredictor(routing.layers);
      const ReplayResult replayed =
          Replay(trace, *policy, ReplayPool::OneClass(trace, static_cast<size_t>(setup.slots)), predictor.get(), odds);
      CHECK(replayed.lookups == counted.lookups);
      const double points = 100 * static_cast<double>(counted.hits) / static_cast<double>(counted.lookups);
      MESSAGE(name << " odds " << odds << ": pool " << points << " % hits, replay " << replayed.hit_percent() << " %, "
                   << counted.prefetches_used << " and " << replayed.prefetches_used << " guesses used");
      CHECK(std::abs(points - replayed.hit_percent()) < 2);
      used += counted.prefetches_used;
    }
  }
  CHECK(used > 500);
}

}  // namespace
}  // namespace sluice
