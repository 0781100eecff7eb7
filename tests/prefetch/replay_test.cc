#include "prefetch/replay.h"

#include <doctest/doctest.h>

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

// Least recently used as a policy: the same rule as Lru above, by another road.
class LruPolicy final : public EvictionPolicy {
 public:
  LruPolicy(int layers, int experts) : experts_(experts), used_(static_cast<size_t>(layers * experts)) {}
  void Observe(int layer, absl::Span<const int> experts) override {
    for (const int expert : experts) used_[layer * experts_ + expert] = ++now_;
  }
  double Score(int layer, int expert, int /*now_layer*/) const override {
    return -static_cast<double>(used_[layer * experts_ + expert]);
  }

 private:
  const int experts_;
  int now_ = 0;
  std::vector<int> used_;
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

struct Rates {
  double lru;
  double layer_lru;
  double ev;
};

Rates ReplayAll(const std::string& name, const RoutingTrace& trace, int percent) {
  const size_t slots = static_cast<size_t>(trace.layers() * trace.experts() * percent / 100);
  Lru lru(slots);
  LayerLru layer_lru(trace.layers(), slots);
  const auto ev = MakeExpectedDistancePolicy(trace.layers(), trace.experts());
  const Rates rates{HitPercent(trace, &lru), HitPercent(trace, &layer_lru), Replay(trace, *ev, slots).hit_percent()};
  MESSAGE(name << " at " << percent << " %: " << rates.lru << " lru, " << rates.layer_lru << " per-layer lru, "
               << rates.ev << " expected distance");
  return rates;
}

TEST_CASE("expected distance beats lru and per-layer lru on recorded routings") {
  for (const std::string name :
       {"kimi-linear-decode", "deepseek-v2-lite-intent", "deepseek-v2-lite-summary", "qwen3-30b-a3b-top6"}) {
    const std::string path = "traces/" + name + ".jsonl.zst";
    SKIP_WITHOUT_SHARED(path);
    const RoutingTrace trace = ReadTrace(SharedPath(path), 1200);
    REQUIRE(trace.tokens().size() > 100);
    for (const int percent : {10, 25}) {
      const Rates rates = ReplayAll(name, trace, percent);
      CHECK(rates.ev > rates.lru);
      CHECK(rates.ev > rates.layer_lru);
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
  CHECK(rates.ev >= 30);
}

TEST_CASE("first touches miss, and with a slot for every record nothing misses twice") {
  const RoutingTrace trace = MakeTrace(2, 4, 2, {"[[0,1],[2,3]]", "[[1,0],[3,1]]", "[[2,0],[2,3]]"});
  LruPolicy policy(2, 4);
  const ReplayResult result = Replay(trace, policy, 8);
  CHECK(result.lookups == 12);
  CHECK(result.misses() == 6);  // 0 1 2 in layer 0, 1 2 3 in layer 1
  CHECK(result.hit_percent() == 50);
}

TEST_CASE("the same id in another layer is another record") {
  const RoutingTrace trace = MakeTrace(2, 4, 1, {"[[3],[3]]", "[[3],[3]]"});
  LruPolicy policy(2, 4);
  CHECK(Replay(trace, policy, 2).hits == 2);
  CHECK(Replay(trace, policy, 1).hits == 0);
}

TEST_CASE("the policy is told of every event once, in order, ascending, hits included") {
  const RoutingTrace trace = MakeTrace(2, 4, 2, {"[[3,0],[2,1]]", "[[3,0],[1,0]]"});
  GrudgePolicy policy(0);
  Replay(trace, policy, 8);
  CHECK(policy.observed() == std::vector<std::string>{"0:0,3", "1:1,2", "0:0,3", "1:0,1"});
}

TEST_CASE("an expert of the event itself is not evicted for another, whatever its score") {
  // Two slots hold 0 and 1; then 0 is needed with 2. The policy wants to be rid
  // of 0, which is spared, so 1 leaves; scores below zero are scores like any other.
  const RoutingTrace trace = MakeTrace(1, 4, 2, {"[[0,1]]", "[[0,2]]", "[[0,2]]"});
  GrudgePolicy against_zero(0);
  CHECK(Replay(trace, against_zero, 2).hits == 3);
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
    LruPolicy policy(3, 12);
    const double percent = Replay(trace, policy, slots).hit_percent();
    CHECK(percent == HitPercent(trace, &list));
    if (slots >= 12) CHECK(percent > 0);
    CHECK(percent < 100);
  }
}

}  // namespace
}  // namespace sluice
