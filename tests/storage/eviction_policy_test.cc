#include "storage/eviction_policy.h"

#include <doctest/doctest.h>
#include <zstd.h>

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "tests/test_data.h"

namespace sluice {
namespace {

struct Trace {
  int layers = 0;
  int experts = 0;
  int top_k = 0;
  std::vector<std::vector<std::vector<int>>> tokens;  // [token][layer] -> ascending ids
};

std::string Decompress(const std::string& bytes) {
  const std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  std::string text;
  std::string part(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in = {bytes.data(), bytes.size(), 0};
  size_t written = 0;
  do {
    ZSTD_outBuffer out = {part.data(), part.size(), 0};
    REQUIRE_FALSE(ZSTD_isError(ZSTD_decompressStream(stream.get(), &out, &in)));
    written = out.pos;
    text.append(part, 0, written);
  } while (in.pos < in.size || written == part.size());
  return text;
}

Trace ReadTrace(const std::string& path, size_t max_tokens) {
  std::istringstream lines(Decompress(ReadFileToString(path)));
  std::string line;
  REQUIRE(std::getline(lines, line));
  const nlohmann::json head = nlohmann::json::parse(line);
  Trace trace{head["layers"], head["experts"], head["top_k"], {}};
  while (trace.tokens.size() < max_tokens && std::getline(lines, line)) {
    auto token = nlohmann::json::parse(line)["experts"].get<std::vector<std::vector<int>>>();
    REQUIRE(token.size() == static_cast<size_t>(trace.layers));
    for (std::vector<int>& ids : token) std::sort(ids.begin(), ids.end());
    trace.tokens.push_back(std::move(token));
  }
  return trace;
}

// Whole events: a token's layer is looked up at once, then its misses take
// slots, and its own experts are never evicted for one another. `Cache` has
// Lookup(layer, expert) and Admit(layer, union, misses).
template <typename Cache>
double HitPercent(const Trace& trace, Cache* cache) {
  uint64_t hits = 0;
  uint64_t lookups = 0;
  for (const auto& token : trace.tokens) {
    for (int layer = 0; layer < trace.layers; ++layer) {
      std::vector<int> misses;
      for (const int expert : token[layer]) {
        if (!cache->Lookup(layer, expert)) misses.push_back(expert);
      }
      lookups += token[layer].size();
      hits += token[layer].size() - misses.size();
      cache->Admit(layer, token[layer], misses);
    }
  }
  return 100.0 * static_cast<double>(hits) / static_cast<double>(lookups);
}

class Lru {
 public:
  explicit Lru(size_t slots) : slots_(slots) {}
  bool Lookup(int layer, int expert) { return places_.count({layer, expert}) > 0; }
  void Admit(int layer, const std::vector<int>& experts, const std::vector<int>& /*misses*/) {
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
  void Admit(int layer, const std::vector<int>& experts, const std::vector<int>& misses) {
    layers_[layer].Admit(layer, experts, misses);
  }

 private:
  std::vector<Lru> layers_;
};

class PolicyCache {
 public:
  PolicyCache(const Trace& trace, size_t slots, std::unique_ptr<EvictionPolicy> policy)
      : experts_(trace.experts), slots_(slots), policy_(std::move(policy)) {
    resident_.resize(static_cast<size_t>(trace.layers * trace.experts));
  }
  bool Lookup(int layer, int expert) { return resident_[layer * experts_ + expert]; }
  void Admit(int layer, const std::vector<int>& experts, const std::vector<int>& misses) {
    policy_->Observe(layer, experts);
    for (const int expert : misses) {
      if (members_.size() == slots_) Evict(layer, experts);
      members_.push_back(layer * experts_ + expert);
      resident_[members_.back()] = true;
    }
  }

 private:
  void Evict(int now_layer, const std::vector<int>& experts) {
    size_t worst = members_.size();
    double worst_score = -1;
    for (size_t i = 0; i < members_.size(); ++i) {
      const int layer = members_[i] / experts_;
      const int expert = members_[i] % experts_;
      const double score = policy_->Score(layer, expert, now_layer);
      if (score <= worst_score) continue;
      if (layer == now_layer && std::binary_search(experts.begin(), experts.end(), expert)) continue;
      worst = i;
      worst_score = score;
    }
    REQUIRE(worst < members_.size());
    resident_[members_[worst]] = false;
    members_[worst] = members_.back();
    members_.pop_back();
  }

  const int experts_;
  const size_t slots_;
  const std::unique_ptr<EvictionPolicy> policy_;
  std::vector<int> members_;
  std::vector<bool> resident_;
};

struct Rates {
  double lru;
  double layer_lru;
  double ev;
};

Rates Replay(const std::string& name, const Trace& trace, int percent) {
  const size_t slots = static_cast<size_t>(trace.layers * trace.experts * percent / 100);
  Lru lru(slots);
  LayerLru layer_lru(trace.layers, slots);
  PolicyCache ev(trace, slots, MakeExpectedDistancePolicy(trace.layers, trace.experts));
  const Rates rates{HitPercent(trace, &lru), HitPercent(trace, &layer_lru), HitPercent(trace, &ev)};
  MESSAGE(name << " at " << percent << " %: " << rates.lru << " lru, " << rates.layer_lru << " per-layer lru, "
               << rates.ev << " expected distance");
  return rates;
}

TEST_CASE("expected distance beats lru and per-layer lru on recorded routings") {
  for (const std::string name :
       {"kimi-linear-decode", "deepseek-v2-lite-intent", "deepseek-v2-lite-summary", "qwen3-30b-a3b-top6"}) {
    const std::string path = "traces/" + name + ".jsonl.zst";
    SKIP_WITHOUT_SHARED(path);
    const Trace trace = ReadTrace(SharedPath(path), 1200);
    REQUIRE(trace.tokens.size() > 100);
    for (const int percent : {10, 25}) {
      const Rates rates = Replay(name, trace, percent);
      CHECK(rates.ev > rates.lru);
      CHECK(rates.ev > rates.layer_lru);
    }
  }
}

TEST_CASE("below one token's working set lru hits next to nothing and expected distance a third") {
  const std::string path = "traces/kimi-linear-decode.jsonl.zst";
  SKIP_WITHOUT_SHARED(path);
  const Trace trace = ReadTrace(SharedPath(path), 1200);
  const Rates rates = Replay("kimi-linear-decode", trace, 3);
  REQUIRE(trace.layers * trace.experts * 3 / 100 < trace.layers * trace.top_k);
  CHECK(rates.lru < 10);
  CHECK(rates.ev >= 30);
}

TEST_CASE("what was never used leaves before what is used at every turn, wherever its layer stands") {
  auto policy = MakeExpectedDistancePolicy(4, 8);
  for (int sweep = 0; sweep < 50; ++sweep) {
    for (int layer = 0; layer < 4; ++layer) policy->Observe(layer, {1, 2});
  }
  for (int layer = 0; layer < 4; ++layer) {
    for (int now = 0; now < 4; ++now) CHECK(policy->Score(layer, 5, now) > policy->Score((layer + 1) % 4, 1, now));
  }
}

TEST_CASE("among equals the layer that comes round last leaves first, the present layer's own included") {
  auto policy = MakeExpectedDistancePolicy(4, 8);
  for (int layer = 0; layer < 4; ++layer) policy->Observe(layer, {3});
  CHECK(policy->Score(2, 3, 2) > policy->Score(1, 3, 2));
  CHECK(policy->Score(1, 3, 2) > policy->Score(0, 3, 2));
  CHECK(policy->Score(0, 3, 2) > policy->Score(3, 3, 2));
}

TEST_CASE("a lasting favourite outlives a newcomer of the same layer once both were quiet for a while") {
  auto policy = MakeExpectedDistancePolicy(2, 8);
  for (int sweep = 0; sweep < 40; ++sweep) policy->Observe(0, {1});
  policy->Observe(0, {2});
  CHECK(policy->Score(0, 2, 1) > policy->Score(0, 1, 1));
  for (int sweep = 0; sweep < 5; ++sweep) policy->Observe(0, {3});
  CHECK(policy->Score(0, 2, 1) > policy->Score(0, 1, 1));
}

}  // namespace
}  // namespace sluice
