#include "storage/routing_echoes.h"

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

namespace sluice {
namespace {

constexpr int kLayers = 4;
constexpr int kExperts = 32;

// What word `word` of a made-up text chooses in `layer`: words have little in common.
std::vector<int> UnionOf(int word, int layer) {
  const int first = (word * 7 + layer * 5) % kExperts;
  return {first, (first + 3 + word % 5) % kExperts};
}

void Say(RoutingEchoes* echoes, int word) {
  for (int layer = 0; layer < kLayers; ++layer) echoes->Observe(layer, UnionOf(word, layer));
}

double ShareOfVotes(const RoutingEchoes& echoes, int layer, int expert) {
  return echoes.Votes(layer, expert) / echoes.total_votes();
}

TEST_CASE("nothing echoes before anything comes again") {
  RoutingEchoes echoes(kLayers, kExperts);
  CHECK(echoes.total_votes() == 0);
  echoes.Observe(0, {1, 2});
  CHECK(echoes.total_votes() == 0);
  echoes.Observe(0, {3, 4});
  CHECK(echoes.total_votes() == 0);
  for (int expert = 0; expert < kExperts; ++expert) CHECK(echoes.Votes(0, expert) == 0);
}

TEST_CASE("when a phrase comes again its next word gets most of the votes, at every layer") {
  RoutingEchoes echoes(kLayers, kExperts);
  for (int repeat = 0; repeat < 3; ++repeat) {
    for (int word = 0; word < 12; ++word) Say(&echoes, word);
  }
  for (int word = 0; word < 6; ++word) Say(&echoes, word);
  for (int layer = 0; layer < kLayers; ++layer) {
    for (const int expert : UnionOf(6, layer)) CHECK(ShareOfVotes(echoes, layer, expert) > 0.9);
  }
}

TEST_CASE("in the midst of a sweep the layers ahead are voted for as this word, the layers behind as the next") {
  RoutingEchoes echoes(kLayers, kExperts);
  for (int repeat = 0; repeat < 4; ++repeat) {
    for (int word = 0; word < 12; ++word) Say(&echoes, word);
  }
  echoes.Observe(0, UnionOf(0, 0));
  echoes.Observe(1, UnionOf(0, 1));
  for (const int expert : UnionOf(1, 0)) CHECK(ShareOfVotes(echoes, 0, expert) > 0.9);
  for (const int expert : UnionOf(0, 3)) CHECK(ShareOfVotes(echoes, 3, expert) > 0.9);
}

TEST_CASE("likeness is strongest right away and fades once the text goes elsewhere") {
  RoutingEchoes echoes(kLayers, kExperts);
  for (int repeat = 0; repeat < 4; ++repeat) {
    for (int word = 0; word < 12; ++word) Say(&echoes, word);
  }
  const double loud = echoes.total_votes();
  CHECK(loud > 0.5);
  CHECK(loud <= 16);
  for (int turn = 0; turn < 40; ++turn) {
    for (int layer = 0; layer < kLayers; ++layer) echoes.Observe(layer, {turn % 3 + layer, 20 + turn % 7});
    if (turn == 1) CHECK(echoes.total_votes() < loud);
  }
}

TEST_CASE("the ring forgets what is older than it holds and keeps what is younger, for as long as it runs") {
  for (const int period : {RoutingEchoes::kTurns - 1, RoutingEchoes::kTurns}) {
    RoutingEchoes echoes(1, 2 * RoutingEchoes::kTurns);
    for (int turn = 0; turn < 4 * RoutingEchoes::kTurns; ++turn) echoes.Observe(0, {turn % period});
    const int next = 4 * RoutingEchoes::kTurns % period;
    CHECK((echoes.Votes(0, next) > 0.5) == (period < RoutingEchoes::kTurns));
  }
}

TEST_CASE("a union of more experts than are remembered neither votes nor resembles anything") {
  std::vector<int> large(RoutingEchoes::kMostIds + 1);
  std::iota(large.begin(), large.end(), 0);
  RoutingEchoes echoes(1, kExperts);
  for (int turn = 0; turn < 20; ++turn) echoes.Observe(0, large);
  CHECK(echoes.total_votes() == 0);
  large.pop_back();
  RoutingEchoes remembered(1, kExperts);
  for (int turn = 0; turn < 20; ++turn) remembered.Observe(0, large);
  CHECK(remembered.total_votes() > 0);
}

TEST_CASE("the same turns give the same votes") {
  RoutingEchoes first(kLayers, kExperts), second(kLayers, kExperts);
  for (int word = 0; word < 300; ++word) {
    Say(&first, word * word % 17);
    Say(&second, word * word % 17);
  }
  CHECK(first.total_votes() > 0);
  CHECK(first.total_votes() == second.total_votes());
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int expert = 0; expert < kExperts; ++expert) CHECK(first.Votes(layer, expert) == second.Votes(layer, expert));
  }
}

}  // namespace
}  // namespace sluice
