#include "prefetch/guess_gate.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

// How many of `chances` are open when each used one brings one guess that is
// right every `every`-th time (never when 0).
int OpenChances(int chances, int every) {
  GuessGate gate;
  uint64_t used = 0, wasted = 0;
  int open = 0;
  for (int chance = 0; chance < chances; ++chance) {
    if (!gate.Open(used, wasted)) continue;
    ++open;
    ++(every > 0 && open % every == 0 ? used : wasted);
  }
  return open;
}

TEST_CASE("guesses that are mostly right go on for ever") {
  CHECK(OpenChances(10000, 1) == 10000);
  CHECK(OpenChances(10000, 2) == 10000);
}

TEST_CASE("guesses below break-even stop, and are tried again now and then") {
  const int open = OpenChances(100000, 0);
  CHECK(open < 6000);
  CHECK(open > 1000);
  CHECK(OpenChances(100000, 10) < 20000);
}

TEST_CASE("a gate that closed opens again when guesses become right") {
  GuessGate gate;
  uint64_t used = 0, wasted = 0;
  for (int chance = 0; chance < 3000; ++chance) wasted += gate.Open(used, wasted);
  int open = 0;
  for (int chance = 0; chance < 5000; ++chance) {
    const bool now = gate.Open(used, wasted);
    used += now;
    open += now;
  }
  CHECK(open > 2500);
}

TEST_CASE("no outcome changes nothing") {
  GuessGate gate;
  for (int chance = 0; chance < 100; ++chance) CHECK(gate.Open(0, 0));
}

}  // namespace
}  // namespace sluice
