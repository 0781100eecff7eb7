#include "prefetch/replay.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "prefetch/policies.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

RoutingTrace ParseOrFail(const std::string& text, size_t max_tokens) {
  auto trace = RoutingTrace::Parse(text, max_tokens);
  INFO(trace.status().message());
  REQUIRE(trace.ok());
  return *std::move(trace);
}

RoutingTrace ReadTrace(const std::string& path, size_t max_tokens) {
  const auto text = DecompressZstd(ReadFileToString(path), uint64_t{64} << 20);
  REQUIRE(text.ok());
  return ParseOrFail(*text, max_tokens);
}

// `tokens` are the lists of each token as JSON.
RoutingTrace MakeTrace(int layers, int experts, int top_k, const std::vector<std::string>& tokens) {
  std::string text =
      absl::StrCat(R"({"model":"made up","layers":)", layers, R"(,"experts":)", experts, R"(,"top_k":)", top_k, "}");
  for (const std::string& token : tokens) absl::StrAppend(&text, "\n", R"({"seq":0,"pos":0,"experts":)", token, "}");
  return ParseOrFail(text, tokens.size());
}

// The baselines, with rules of their own: Lookup(layer, expert), Admit(layer, union).
template <typename Cache>
double HitPercent(const RoutingTrace& trace, Cache* cache) {
  ReplayResult result;
  for (size_t event = 0; event < trace.events(); ++event) {
    const int layer = trace.EventLayer(event);
    for (const int expert : trace.EventExperts(event)) {
      ++result.lookups;
      result.hits += cache->Lookup(layer, expert);
    }
    cache->Admit(layer, trace.EventExperts(event));
  }
  return result.hit_percent();
}

class Lru {
 public:
  explicit Lru(size_t slots) : slots_(slots) {}
  bool Lookup(int layer, int expert) { return places_.count({layer, expert}) > 0; }
  void Admit(int layer, absl::Span<const int> experts) {
    for (const int expert : experts) {
      const auto place = places_.find({layer, expert});
      if (place != places_.end()) order_.erase(place->second);
      order_.push_back({layer, expert});
      places_[order_.back()] = std::prev(order_.end());
    }
    while (order_.size() > slots_) {
      places_.erase(order_.front());
      order_.pop_front();
    }
  }

 private:
  using Key = std::pair<int, int>;
  const size_t slots_;
  std::list<Key> order_;  // the latest last
  std::map<Key, std::list<Key>::iterator> places_;
};

class LayerLru {
 public:
  LayerLru(int layers, size_t slots) {
    const size_t count = static_cast<size_t>(layers);
    for (size_t i = 0; i < count; ++i) layers_.emplace_back(slots * (i + 1) / count - slots * i / count);
  }
  bool Lookup(int layer, int expert) { return layers_[layer].Lookup(layer, expert); }
  void Admit(int layer, absl::Span<const int> experts) { layers_[layer].Admit(layer, experts); }

 private:
  std::vector<Lru> layers_;
};

// Names the expert that it would rather be rid of, and keeps what it was told.
class GrudgePolicy final : public EvictionPolicy {
 public:
  explicit GrudgePolicy(int expert) : expert_(expert) {}
  void Observe(int layer, absl::Span<const int> experts) override {
    observed_.push_back(absl::StrCat(layer, ":", absl::StrJoin(experts, ",")));
  }
  double Score(int /*layer*/, int expert, int /*now_layer*/) const override { return expert == expert_ ? -1 : -2; }
  const std::vector<std::string>& observed() const { return observed_; }

 private:
  const int expert_;
  std::vector<std::string> observed_;
};

uint64_t LruHits(const RoutingTrace& trace, size_t slots) {
  const auto policy = MakeLruPolicy(trace.layers(), trace.experts());
  return Replay(trace, *policy, ReplayPool::OneClass(trace, slots)).hits;
}

struct Rates {
  double lru;
  double layer_lru;
  double ev;
  double lfu;
  double optimal;
};

Rates ReplayAll(const std::string& name, const RoutingTrace& trace, int percent) {
  const size_t slots = static_cast<size_t>(trace.layers() * trace.experts() * percent / 100);
  Lru lru(slots);
  LayerLru layer_lru(trace.layers(), slots);
  const auto ev = MakeExpectedDistancePolicy(trace.layers(), trace.experts());
  const auto lfu = MakeLfuPolicy(trace.layers(), trace.experts());
  const auto optimal = MakeClairvoyantPolicy(trace);
  const ReplayPool pool = ReplayPool::OneClass(trace, slots);
  const Rates rates{HitPercent(trace, &lru), HitPercent(trace, &layer_lru), Replay(trace, *ev, pool).hit_percent(),
                    Replay(trace, *lfu, pool).hit_percent(), Replay(trace, *optimal, pool).hit_percent()};
  MESSAGE(name << " at " << percent << " %: " << rates.lru << " lru, " << rates.layer_lru << " per-layer lru, "
               << rates.lfu << " lfu, " << rates.ev << " expected distance, " << rates.optimal << " optimal, of which "
               << 100 * rates.ev / rates.optimal << " %");
  return rates;
}

TEST_CASE("expected distance beats lru, per-layer lru and lfu on recorded routings, and not the optimum") {
  for (const std::string name :
       {"kimi-linear-decode", "deepseek-v2-lite-intent", "deepseek-v2-lite-summary", "qwen3-30b-a3b-top6"}) {
    const std::string path = "traces/" + name + ".jsonl.zst";
    SKIP_WITHOUT_SHARED(path);
    const RoutingTrace trace = ReadTrace(SharedPath(path), 1200);
    REQUIRE(trace.tokens().size() > 100);
    for (const int percent : {3, 10, 25, 50}) {
      const Rates rates = ReplayAll(name, trace, percent);
      // The Qwen3 trace is so short that half of the experts hold all it touches.
      const bool never_full = rates.optimal == rates.lru;
      CHECK(never_full == (name == "qwen3-30b-a3b-top6" && percent == 50));
      if (never_full) continue;
      CHECK(rates.ev > rates.lru);
      CHECK(rates.ev > rates.layer_lru);
      CHECK(rates.ev > rates.lfu);
      CHECK(rates.ev < rates.optimal);
    }
  }
}

TEST_CASE("below one token's working set lru hits next to nothing and expected distance a third") {
  const std::string path = "traces/kimi-linear-decode.jsonl.zst";
  SKIP_WITHOUT_SHARED(path);
  const RoutingTrace trace = ReadTrace(SharedPath(path), 1200);
  const Rates rates = ReplayAll("kimi-linear-decode", trace, 3);
  REQUIRE(trace.layers() * trace.experts() * 3 / 100 < trace.layers() * trace.top_k());
  CHECK(rates.lru < 10);
  CHECK(rates.ev >= 35);
}

TEST_CASE("first touches miss, and with a slot for every record nothing misses twice") {
  const RoutingTrace trace = MakeTrace(2, 4, 2, {"[[0,1],[2,3]]", "[[1,0],[3,1]]", "[[2,0],[2,3]]"});
  const auto policy = MakeLruPolicy(2, 4);
  const ReplayResult result = Replay(trace, *policy, ReplayPool::OneClass(trace, 8));
  CHECK(result.lookups == 12);
  CHECK(result.misses() == 6);  // 0 1 2 in layer 0, 1 2 3 in layer 1
  CHECK(result.hit_percent() == 50);
}

TEST_CASE("the same id in another layer is another record") {
  const RoutingTrace trace = MakeTrace(2, 4, 1, {"[[3],[3]]", "[[3],[3]]"});
  CHECK(LruHits(trace, 2) == 2);
  CHECK(LruHits(trace, 1) == 0);
}

TEST_CASE("the policy is told of every event once, in order, ascending, hits included") {
  const RoutingTrace trace = MakeTrace(2, 4, 2, {"[[3,0],[2,1]]", "[[3,0],[1,0]]"});
  GrudgePolicy policy(0);
  Replay(trace, policy, ReplayPool::OneClass(trace, 8));
  CHECK(policy.observed() == std::vector<std::string>{"0:0,3", "1:1,2", "0:0,3", "1:0,1"});
}

TEST_CASE("an expert of the event itself is not evicted for another, whatever its score") {
  // Two slots hold 0 and 1; then 0 is needed with 2. The policy wants to be rid
  // of 0, which is spared, so 1 leaves; scores below zero are scores like any other.
  const RoutingTrace trace = MakeTrace(1, 4, 2, {"[[0,1]]", "[[0,2]]", "[[0,2]]"});
  GrudgePolicy against_zero(0);
  CHECK(Replay(trace, against_zero, ReplayPool::OneClass(trace, 2)).hits == 3);
}

TEST_CASE("lru as a policy hits exactly as often as lru with a list") {
  std::vector<std::string> tokens;
  uint32_t state = 1;
  for (int token = 0; token < 200; ++token) {
    std::vector<std::string> rows;
    for (int layer = 0; layer < 3; ++layer) {
      state = state * 1664525 + 1013904223;
      const uint32_t first = (state >> 16) % 8;
      rows.push_back(absl::StrCat("[", first, ",", 8 + (state >> 20) % 4, "]"));
    }
    tokens.push_back(absl::StrCat("[", absl::StrJoin(rows, ","), "]"));
  }
  const RoutingTrace trace = MakeTrace(3, 12, 2, tokens);
  for (const size_t slots : {2, 7, 12, 20, 30}) {
    Lru list(slots);
    const auto policy = MakeLruPolicy(3, 12);
    const double percent = Replay(trace, *policy, ReplayPool::OneClass(trace, slots)).hit_percent();
    CHECK(percent == HitPercent(trace, &list));
    if (slots >= 12) CHECK(percent > 0);
    CHECK(percent < 100);
  }
}

// Every order of evictions, tried: the most hits that a pool can have.
class Exhaustive {
 public:
  Exhaustive(const RoutingTrace& trace, size_t slots) : trace_(trace), slots_(slots) {}
  uint64_t MostHits(size_t event, std::vector<int> pool) {
    if (event == trace_.events()) return 0;
    const int layer = trace_.EventLayer(event);
    std::vector<int> wanted;
    for (const int expert : trace_.EventExperts(event)) wanted.push_back(layer * trace_.experts() + expert);
    uint64_t hits = 0;
    std::vector<int> others;
    for (const int record : pool) {
      const bool hit = std::count(wanted.begin(), wanted.end(), record) > 0;
      hits += hit;
      if (!hit) others.push_back(record);
    }
    const size_t kept = std::min(others.size(), slots_ - wanted.size());
    return hits + BestRest(event, wanted, others, kept);
  }

 private:
  // Tries every choice of `kept` of the others.
  uint64_t BestRest(size_t event, const std::vector<int>& wanted, const std::vector<int>& others, size_t kept) {
    uint64_t best = 0;
    std::vector<bool> chosen(others.size(), false);
    std::fill_n(chosen.begin(), kept, true);
    do {
      std::vector<int> pool = wanted;
      for (size_t i = 0; i < others.size(); ++i) {
        if (chosen[i]) pool.push_back(others[i]);
      }
      best = std::max(best, MostHits(event + 1, std::move(pool)));
    } while (std::prev_permutation(chosen.begin(), chosen.end()));
    return best;
  }

  const RoutingTrace& trace_;
  const size_t slots_;
};

RoutingTrace RandomTrace(uint32_t seed, int layers, int experts, int tokens) {
  std::vector<std::string> lines;
  uint32_t state = seed;
  for (int token = 0; token < tokens; ++token) {
    std::vector<std::string> rows;
    for (int layer = 0; layer < layers; ++layer) {
      state = state * 1664525 + 1013904223;
      const uint32_t first = (state >> 16) % static_cast<uint32_t>(experts);
      rows.push_back(absl::StrCat("[", first, ",", (first + 1 + (state >> 24) % (experts - 1)) % experts, "]"));
    }
    lines.push_back(absl::StrCat("[", absl::StrJoin(rows, ","), "]"));
  }
  return MakeTrace(layers, experts, 2, lines);
}

TEST_CASE("the clairvoyant policy hits as often as the best of all ways to evict") {
  uint64_t most = 0;
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    const RoutingTrace trace = RandomTrace(seed, 2, 4, 4);
    for (const size_t slots : {3, 4, 5}) {
      const auto optimal = MakeClairvoyantPolicy(trace);
      const uint64_t hits = Replay(trace, *optimal, ReplayPool::OneClass(trace, slots)).hits;
      CHECK(hits == Exhaustive(trace, slots).MostHits(0, {}));
      most = std::max(most, hits);
    }
  }
  CHECK(most > 3);
}

TEST_CASE("what was used least often leaves first under lfu, the older of equals") {
  // 0 twice, then 1, then 2: with two slots 1 leaves for 2 and 0 stays.
  const RoutingTrace trace = MakeTrace(1, 4, 1, {"[[0]]", "[[0]]", "[[1]]", "[[2]]", "[[0]]", "[[1]]", "[[2]]"});
  const auto lfu = MakeLfuPolicy(1, 4);
  CHECK(Replay(trace, *lfu, ReplayPool::OneClass(trace, 2)).hits == 2);
  const RoutingTrace equals = MakeTrace(1, 4, 1, {"[[0]]", "[[1]]", "[[2]]", "[[1]]"});
  const auto fresh = MakeLfuPolicy(1, 4);
  CHECK(Replay(equals, *fresh, ReplayPool::OneClass(equals, 2)).hits == 1);
}

TEST_CASE("tokens of one sweep are one event, and their union is looked up once") {
  const std::string text = R"({"model":"m","layers":1,"experts":8,"top_k":2,"record_bytes":[10]})"
                           "\n"
                           R"({"seq":0,"pos":0,"sweep":0,"experts":[[0,1]]})"
                           "\n"
                           R"({"seq":0,"pos":1,"sweep":0,"experts":[[1,2]]})"
                           "\n"
                           R"({"seq":0,"pos":2,"sweep":1,"experts":[[0,2]]})";
  const RoutingTrace trace = ParseOrFail(text, 10);
  const auto lru = MakeLruPolicy(1, 8);
  const ReplayResult result = Replay(trace, *lru, ReplayPool::OneClass(trace, 3));
  CHECK(result.lookups == 5);
  CHECK(result.hits == 2);
  CHECK(result.bytes == 30);
}

TEST_CASE("an event larger than its class goes through it, and slots of other classes are not touched") {
  const RoutingTrace trace = MakeTrace(2, 4, 3, {"[[0,1,2],[0,1,2]]", "[[0,1,2],[0,1,2]]"});
  const auto lru = MakeLruPolicy(2, 4);
  const ReplayResult result = Replay(trace, *lru, {{0, 1}, {2, 3}});
  CHECK(result.lookups == 12);
  CHECK(result.hits >= 3);  // all of layer 1
  CHECK(result.hits <= 5);
  const auto none = MakeLruPolicy(2, 4);
  CHECK(Replay(trace, *none, {{0, 1}, {0, 3}}).hits == 3);
}

TEST_CASE("layers of one record size share a class and all classes the budget") {
  const std::string text = R"({"model":"m","layers":3,"experts":10,"top_k":2,"record_bytes":[7,9,7]})"
                           "\n"
                           R"({"seq":0,"pos":0,"experts":[[0,1],[1,2],[3,4]]})";
  const RoutingTrace trace = ParseOrFail(text, 10);
  const ReplayPool pool = ReplayPool::BySize(trace, 0.5);
  CHECK(pool.class_of_layer == std::vector<int>{0, 1, 0});
  CHECK(pool.slots == std::vector<size_t>{10, 5});
  CHECK(ReplayPool::BySize(trace, 0.01).slots == std::vector<size_t>{2, 2});  // top_k at least
  CHECK(ReplayPool::PerLayer(trace, 8).slots == std::vector<size_t>{2, 3, 3});
  const auto lru = MakeLruPolicy(3, 10);
  CHECK(Replay(trace, *lru, pool).bytes == 2 * 7 + 2 * 9 + 2 * 7);
}

TEST_CASE("a guess that comes true is a hit and no second read, one that does not is a read more") {
  const RoutingTrace trace = MakeTrace(2, 8, 1, {"[[0],[1]]", "[[0],[2]]", "[[0],[2]]"});
  // Without room for more than one record every lookup misses; a guess takes the slot in time.
  const auto lru = MakeLruPolicy(2, 8);
  CHECK(Replay(trace, *lru, ReplayPool::OneClass(trace, 1)).hits == 0);
  const auto ev = MakeExpectedDistancePolicy(2, 8);
  const auto previous = MakePreviousPredictor(2);
  const ReplayResult guessed = Replay(trace, *ev, ReplayPool::OneClass(trace, 1), previous.get());
  // Expert 0 twice, which the layer before would take the slot from, and 1 in vain.
  CHECK(guessed.prefetches == 3);
  CHECK(guessed.prefetches_used == 2);
  CHECK(guessed.hits == 2);
  // 0 is the favourite, but 2 comes.
  const RoutingTrace surprise = MakeTrace(1, 8, 1, {"[[0]]", "[[0]]", "[[0]]", "[[1]]", "[[2]]"});
  const auto fresh = MakeExpectedDistancePolicy(1, 8);
  const auto popular = MakePopularityPredictor(1, 8);
  const ReplayResult wasted = Replay(surprise, *fresh, ReplayPool::OneClass(surprise, 1), popular.get());
  CHECK(wasted.hits == 2);
  CHECK(wasted.prefetches == 1);
  CHECK(wasted.prefetches_used == 0);
}

}  // namespace
}  // namespace sluice
