#include "prefetch/guess_gate.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

// Makes one guess at each open chance, right every `every`-th time (never when
// 0); right ones gain and wrong ones lose so many bytes.
struct Guesser {
  int every = 1;
  uint64_t gain_bytes = 100;
  uint64_t loss_bytes = 10;
  GuessTotals totals = {};
  int open = 0;

  void Guess() {
    ++open;
    const bool right = every > 0 && open % every == 0;
    ++(right ? totals.used : totals.wasted);
    totals.gained_bytes += right ? gain_bytes : 0;
    totals.lost_bytes += right ? 0 : loss_bytes;
  }
  int OpenChances(GuessGate* gate, int chances) {
    const int before = open;
    for (int chance = 0; chance < chances; ++chance) {
      if (gate->Open(totals)) Guess();
    }
    return open - before;
  }
};

int OpenChances(int chances, Guesser guesser) {
  GuessGate gate;
  return guesser.OpenChances(&gate, chances);
}

TEST_CASE("guesses that are mostly right go on for ever") {
  CHECK(OpenChances(10000, {.every = 1}) == 10000);
  CHECK(OpenChances(10000, {.every = 2}) == 10000);
}

TEST_CASE("guesses of which hardly any is right stop, and are tried again now and then") {
  const int open = OpenChances(100000, {.every = 0});
  CHECK(open < 1500);
  CHECK(open > 500);
  CHECK(OpenChances(100000, {.every = 10}) < 10000);
  // Also when a wrong one costs nothing but its slot.
  CHECK(OpenChances(100000, {.every = 0, .loss_bytes = 0}) < 1500);
}

TEST_CASE("guesses that lose more bytes than they gain stop though every other one is right") {
  CHECK(OpenChances(100000, {.every = 2, .gain_bytes = 30, .loss_bytes = 60}) < 5000);
  CHECK(OpenChances(100000, {.every = 2, .gain_bytes = 60, .loss_bytes = 30}) == 100000);
}

TEST_CASE("a gate that closed opens again when guesses become right") {
  GuessGate gate;
  Guesser guesser{.every = 0};
  CHECK(guesser.OpenChances(&gate, 3000) < 100);
  guesser.every = 1;
  CHECK(guesser.OpenChances(&gate, 5000) > 2500);
}

TEST_CASE("usefulness is the share of the last guesses that were right, a half before the first") {
  GuessGate gate;
  CHECK(gate.usefulness() == 0.5);
  Guesser guesser{.every = 4};
  guesser.OpenChances(&gate, 200);
  CHECK(gate.usefulness() == doctest::Approx(0.25).epsilon(0.2));
}

TEST_CASE("no outcome changes nothing") {
  GuessGate gate;
  for (int chance = 0; chance < 100; ++chance) CHECK(gate.Open({}));
}

}  // namespace
}  // namespace sluice
