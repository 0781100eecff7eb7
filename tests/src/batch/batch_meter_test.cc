#include "src/batch/batch_meter.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST_CASE("durations are told in the two largest units that matter") {
  CHECK(DurationText(0) == "0 s");
  CHECK(DurationText(-5) == "0 s");
  CHECK(DurationText(59.4) == "59 s");
  CHECK(DurationText(59.6) == "1 min 0 s");
  CHECK(DurationText(125) == "2 min 5 s");
  CHECK(DurationText(3600) == "1 h 0 min");
  CHECK(DurationText(2 * 3600 + 11 * 60 + 59) == "2 h 11 min");
  CHECK(DurationText(1e300) == "277777 h 46 min");
}

TEST_CASE("the line for people says how far and how fast, and how long when that is known") {
  BatchStatus status;
  status.active = 40;
  status.waiting = 12;
  status.done = 12;
  status.tokens_per_minute = 101;
  status.tokens_per_minute_now = 110.25;
  status.read_gbps = 1.9;
  CHECK(StatusLine(status) == "12 of 64 documents, 40 active, 12 waiting · 101.0 tokens/min (now 110.2) · 1.90 GB/s");
  status.errors = 3;
  status.eta_seconds = 7800;
  CHECK(StatusLine(status) ==
        "12 of 64 documents, 40 active, 12 waiting, 3 errors · 101.0 tokens/min (now 110.2) · 1.90 GB/s · "
        "2 h 10 min left");
}

TEST_CASE("before the first sweep nothing is known") {
  const BatchMeter meter;
  CHECK(meter.sweep_seconds() == 0);
  CHECK(meter.tokens_per_minute() == 0);
  CHECK(meter.tokens_per_minute_now() == 0);
  CHECK(meter.read_gbps() == 0);
  CHECK(meter.SecondsFor(10, 10) < 0);
}

TEST_CASE("rates are over all sweeps, the present ones over the last") {
  BatchMeter meter;
  for (int i = 0; i < 50; ++i) meter.Observe({2 * kSecond, 4, 10, 3'000'000'000});
  CHECK(meter.tokens_per_minute() == doctest::Approx(120));
  CHECK(meter.tokens_per_minute_now() == doctest::Approx(120));
  CHECK(meter.read_gbps() == doctest::Approx(1.5));
  CHECK(meter.sweep_seconds() == doctest::Approx(2));
  for (int i = 0; i < 50; ++i) meter.Observe({kSecond, 4, 0, 500'000'000});
  CHECK(meter.tokens_per_minute() == doctest::Approx(160));
  CHECK(meter.tokens_per_minute_now() == doctest::Approx(240).epsilon(0.001));
  CHECK(meter.read_gbps() == doctest::Approx(0.5).epsilon(0.001));
  CHECK(meter.sweep_seconds() == doctest::Approx(1).epsilon(0.001));
  CHECK(meter.total().generated_tokens == 400);
  CHECK(meter.total().prompt_tokens == 500);
}

TEST_CASE("what is left takes as long as as much did so far, answers or prompts, whichever is more") {
  BatchMeter meter;
  for (int i = 0; i < 10; ++i) meter.Observe({kSecond, 5, 20, 0});
  CHECK(meter.SecondsFor(100, 0) == doctest::Approx(20));
  CHECK(meter.SecondsFor(100, 200) == doctest::Approx(20));
  CHECK(meter.SecondsFor(100, 1000) == doctest::Approx(50));
  CHECK(meter.SecondsFor(0, 0) == doctest::Approx(0));
}

TEST_CASE("prompts alone tell nothing about answers") {
  BatchMeter meter;
  meter.Observe({kSecond, 0, 500, 0});
  CHECK(meter.SecondsFor(1, 1) < 0);
  CHECK(meter.sweep_seconds() == doctest::Approx(1));
}

}  // namespace
}  // namespace sluice
