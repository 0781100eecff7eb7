// sluice replay: what policies and predictors would have made of a recorded routing.
#include <cstdio>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"
#include "base/status.h"
#include "prefetch/policies.h"
#include "prefetch/replay.h"
#include "src/cli/common.h"
#include "src/cli/inputs.h"

namespace sluice {
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{4} << 30;
constexpr absl::string_view kZstdMagic("\x28\xb5\x2f\xfd", 4);

struct PolicyRow {
  absl::string_view name;
  std::unique_ptr<EvictionPolicy> (*make)(const RoutingTrace& trace);
  bool per_layer = false;  // a quota of slots for each layer
};

constexpr PolicyRow kPolicies[] = {
    {"ev", [](const RoutingTrace& t) { return MakeExpectedDistancePolicy(t.layers(), t.experts()); }},
    {"lru", [](const RoutingTrace& t) { return MakeLruPolicy(t.layers(), t.experts()); }},
    {"layer-lru", [](const RoutingTrace& t) { return MakeLruPolicy(t.layers(), t.experts()); }, true},
    {"lfu", [](const RoutingTrace& t) { return MakeLfuPolicy(t.layers(), t.experts()); }},
    {"optimal", [](const RoutingTrace& t) { return MakeClairvoyantPolicy(t); }},
};

struct PredictorRow {
  absl::string_view name;
  std::unique_ptr<Predictor> (*make)(const RoutingTrace& trace);
};

constexpr PredictorRow kPredictors[] = {
    {"none", [](const RoutingTrace&) { return std::unique_ptr<Predictor>(); }},
    {"previous", [](const RoutingTrace& t) { return MakePreviousPredictor(t.layers()); }},
    {"popular", [](const RoutingTrace& t) { return MakePopularityPredictor(t.layers(), t.experts()); }},
};

struct ReplayOptions {
  std::string trace;
  std::string policies = "all";
  std::string predictors = "none";
  std::string budgets = "3%,10%,25%,50%";
  std::string expert_bytes;
  size_t tokens = std::numeric_limits<size_t>::max();
  bool json = false;
};

// One line of the result.
struct Outcome {
  absl::string_view policy, predictor;
  std::string budget;
  size_t slots = 0;
  double share = 0;  // of all experts
  ReplayResult result;
  // None where a layer's quota is less than a token's experts: such a pool lets
  // them pass through, and the optimum is that of pools which hold them all.
  absl::optional<double> share_of_optimum;
};

// The rows of a table that a list of names means.
template <typename Row, size_t kRows>
absl::StatusOr<std::vector<const Row*>> Choose(const Row (&table)[kRows], absl::string_view option,
                                               const std::string& names) {
  std::vector<const Row*> chosen;
  for (absl::string_view name : absl::StrSplit(names, ',')) {
    const size_t before = chosen.size();
    for (const Row& row : table) {
      if (name == row.name || name == "all") chosen.push_back(&row);
    }
    if (chosen.size() > before) continue;
    const auto append = [](std::string* out, const Row& row) { absl::StrAppend(out, row.name); };
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": \"", name, "\" is not known; known: all, ", absl::StrJoin(table, ", ", append)));
  }
  return chosen;
}

absl::StatusOr<RoutingTrace> ReadTrace(const ReplayOptions& options) {
  ASSIGN_OR_RETURN(std::string text, ReadTextFile(options.trace));
  absl::StatusOr<RoutingTrace> trace;
  if (absl::StartsWith(text, kZstdMagic)) {
    absl::StatusOr<std::string> plain = DecompressZstd(text, kMaxTextBytes);
    if (!plain.ok()) {
      return absl::Status(plain.status().code(), absl::StrCat(options.trace, ": ", plain.status().message()));
    }
    text = *std::move(plain);
  }
  trace = RoutingTrace::Parse(text, options.tokens);
  if (trace.ok()) return trace;
  return absl::Status(trace.status().code(), absl::StrCat(options.trace, ": ", trace.status().message()));
}

uint64_t BytesOfAll(const RoutingTrace& trace) {
  uint64_t bytes = 0;
  for (const uint64_t record : trace.record_bytes()) bytes += record * static_cast<uint64_t>(trace.experts());
  return bytes;
}

// The share of all experts that a budget holds: "10%", or a size as in "4G".
absl::StatusOr<double> ShareOf(absl::string_view budget, const RoutingTrace& trace) {
  absl::string_view number = budget;
  double percent = 0;
  if (absl::ConsumeSuffix(&number, "%")) {
    if (absl::SimpleAtod(number, &percent) && percent > 0 && percent <= 100) return percent / 100;
    return absl::InvalidArgumentError(absl::StrCat("--budget: \"", budget, "\" is not between 0% and 100%"));
  }
  const absl::StatusOr<uint64_t> bytes = ParseSize(budget);
  if (!bytes.ok()) return absl::InvalidArgumentError(absl::StrCat("--budget: ", bytes.status().message(), ", or 10%"));
  if (trace.record_bytes().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--budget ", budget,
                     ": the trace does not say how large its experts are; give --expert-bytes or a percentage"));
  }
  return std::min(1.0, static_cast<double>(*bytes) / static_cast<double>(BytesOfAll(trace)));
}

ReplayResult RunOne(const RoutingTrace& trace, const PolicyRow& policy, const PredictorRow& predictor,
                    const ReplayPool& pool) {
  const std::unique_ptr<EvictionPolicy> evicts = policy.make(trace);
  const std::unique_ptr<Predictor> guesses = predictor.make(trace);
  if (!policy.per_layer) return Replay(trace, *evicts, pool, guesses.get());
  return Replay(trace, *evicts, ReplayPool::PerLayer(trace, pool.total_slots()), guesses.get());
}

absl::optional<double> ShareOfOptimum(const RoutingTrace& trace, const PolicyRow& policy, size_t slots, uint64_t hits,
                                      uint64_t optimal_hits) {
  const size_t quota = slots / static_cast<size_t>(trace.layers());
  if (policy.per_layer && quota < static_cast<size_t>(trace.top_k())) return absl::nullopt;
  return optimal_hits == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(optimal_hits);
}

nlohmann::ordered_json ShareAsJson(const Outcome& outcome) {
  if (!outcome.share_of_optimum) return nullptr;
  return *outcome.share_of_optimum;
}

void Print(const ReplayOptions& options, const RoutingTrace& trace, const Outcome& outcome) {
  const ReplayResult& result = outcome.result;
  if (!options.json) {
    absl::PrintF("%-10s %-9s %8s %7d %8.2f %8s %10.2f %s\n", outcome.policy, outcome.predictor, outcome.budget,
                 outcome.slots, result.hit_percent(),
                 outcome.share_of_optimum ? absl::StrFormat("%.1f", 100 * *outcome.share_of_optimum) : "-",
                 static_cast<double>(result.misses() + result.prefetches - result.prefetches_used) /
                     static_cast<double>(trace.tokens().size()),
                 result.bytes == 0 ? "-" : absl::StrFormat("%.3f", static_cast<double>(result.bytes) / 1e9));
    return;
  }
  const nlohmann::ordered_json json = {{"trace", options.trace},
                                       {"model", trace.model()},
                                       {"tokens", trace.tokens().size()},
                                       {"sweeps", trace.sweeps()},
                                       {"policy", std::string(outcome.policy)},
                                       {"predictor", std::string(outcome.predictor)},
                                       {"budget", outcome.budget},
                                       {"slots", outcome.slots},
                                       {"share", outcome.share},
                                       {"lookups", result.lookups},
                                       {"hits", result.hits},
                                       {"misses", result.misses()},
                                       {"hit_rate", result.hit_percent() / 100},
                                       {"share_of_optimum", ShareAsJson(outcome)},
                                       {"prefetches", result.prefetches},
                                       {"prefetches_used", result.prefetches_used},
                                       {"bytes", result.bytes}};
  absl::PrintF("%s\n", JsonLine(json));
}

void PrintHead(const ReplayOptions& options, const RoutingTrace& trace) {
  if (options.json) return;
  absl::PrintF("%s: %d tokens in %d sweeps, %d layers x %d experts, top %d\n", OneLine(trace.model()),
               trace.tokens().size(), trace.sweeps(), trace.layers(), trace.experts(), trace.top_k());
  absl::PrintF("%-10s %-9s %8s %7s %8s %8s %10s %s\n", "policy", "predictor", "budget", "slots", "hits %", "of opt %",
               "reads/tok", "GB read");
}

absl::Status RunBudget(const ReplayOptions& options, const RoutingTrace& trace, const std::string& budget,
                       const std::vector<const PolicyRow*>& policies,
                       const std::vector<const PredictorRow*>& predictors) {
  ASSIGN_OR_RETURN(const double share, ShareOf(budget, trace));
  const ReplayPool pool = ReplayPool::BySize(trace, share);
  const std::unique_ptr<EvictionPolicy> optimal = MakeClairvoyantPolicy(trace);
  const uint64_t optimal_hits = Replay(trace, *optimal, pool).hits;
  for (const PredictorRow* predictor : predictors) {
    for (const PolicyRow* policy : policies) {
      Outcome outcome = {policy->name, predictor->name, budget, pool.total_slots(), share, {}, absl::nullopt};
      outcome.result = RunOne(trace, *policy, *predictor, pool);
      outcome.share_of_optimum = ShareOfOptimum(trace, *policy, pool.total_slots(), outcome.result.hits, optimal_hits);
      Print(options, trace, outcome);
    }
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

absl::Status RunReplay(const ReplayOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<const PolicyRow*> policies, Choose(kPolicies, "--policy", options.policies));
  ASSIGN_OR_RETURN(const std::vector<const PredictorRow*> predictors,
                   Choose(kPredictors, "--predictor", options.predictors));
  ASSIGN_OR_RETURN(RoutingTrace trace, ReadTrace(options));
  if (!options.expert_bytes.empty()) {
    const absl::StatusOr<uint64_t> bytes = ParseSize(options.expert_bytes);
    if (!bytes.ok()) return absl::InvalidArgumentError(absl::StrCat("--expert-bytes: ", bytes.status().message()));
    trace.SetRecordBytes(*bytes);
  }
  const std::vector<std::string> budgets = absl::StrSplit(options.budgets, ',');
  for (const std::string& budget : budgets) RETURN_IF_ERROR(ShareOf(budget, trace).status());
  PrintHead(options, trace);
  for (const std::string& budget : budgets) {
    RETURN_IF_ERROR(RunBudget(options, trace, budget, policies, predictors));
  }
  return absl::OkStatus();
}

}  // namespace

Command AddReplayCommand(CLI::App* app) {
  auto options = std::make_shared<ReplayOptions>();
  CLI::App* command = app->add_subcommand("replay", "hit rates of eviction policies on a recorded routing");
  command->add_option("TRACE", options->trace, "what run --trace wrote, plain or as zstd; - reads standard input")
      ->required();
  command->add_option("--policy", options->policies, "list of ev, lru, layer-lru, lfu, optimal; or all")
      ->capture_default_str();
  command->add_option("--predictor", options->predictors, "list of none, previous, popular; or all")
      ->capture_default_str();
  command->add_option("--budget", options->budgets, "list of shares of all experts, or of bytes for them: 10%,4G")
      ->capture_default_str();
  command->add_option("--expert-bytes", options->expert_bytes, "size of an expert, in place of what the trace says");
  command->add_option("--tokens", options->tokens, "only the first so many")
      ->check(CLI::Range(size_t{1}, std::numeric_limits<size_t>::max()));
  command->add_flag("--json", options->json, "print one JSON object per line");
  return {command, [options] { return RunReplay(*options); }};
}

}  // namespace sluice
