#include "src/engine/stats.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "storage/system_memory.h"

namespace sluice {
namespace {

double TokensPerMinute(const RunTimeline& t) {
  const double tokens = t.generated_tokens > 1 ? static_cast<double>(t.generated_tokens - 1) : 0.0;
  return 60.0 * Ratio(tokens, SecondsOf(t.end.time_ns - t.prompt_end.time_ns));
}

void AddReads(const Engine& engine, const RunTimeline& t, nlohmann::ordered_json* stats) {
  const uint64_t total = t.load_bytes + t.end.io.bytes_read - t.begin.io.bytes_read;
  const uint64_t generate = t.end.io.bytes_read - t.prompt_end.io.bytes_read;
  const double generate_seconds = SecondsOf(t.end.time_ns - t.prompt_end.time_ns);
  (*stats)["bytes_read"] = total;
  (*stats)["bytes_written"] = t.end.spill_written_bytes - t.begin.spill_written_bytes;
  (*stats)["bytes_read_load"] = t.load_bytes;  // a part of the next
  (*stats)["bytes_read_prompt"] = total - generate;
  (*stats)["bytes_read_generate"] = generate;
  (*stats)["read_seconds_busy"] = SecondsOf(t.end.busy_ns() - t.begin.busy_ns());
  (*stats)["read_gbps"] = Ratio(static_cast<double>(generate) / 1e9, generate_seconds);
  (*stats)["device_busy_fraction"] =
      std::min(1.0, Ratio(SecondsOf(t.end.busy_ns() - t.prompt_end.busy_ns()), generate_seconds));
  // While generating: how long no read was known to be needed, which is between a layer's last byte and the next
  // routing, where guesses at most can read; and the share of the rest in which reads that were needed were in flight.
  const double asked_seconds = SecondsOf(t.end.io.asked_ns - t.prompt_end.io.asked_ns);
  (*stats)["device_unasked_seconds"] = std::max(0.0, generate_seconds - asked_seconds);
  (*stats)["device_busy_of_asked_fraction"] =
      std::min(1.0, Ratio(SecondsOf(t.end.io.busy_ns - t.prompt_end.io.busy_ns), asked_seconds));
  (*stats)["expert_lookups"] = t.end.pool.lookups - t.begin.pool.lookups;
  (*stats)["expert_hits"] = t.end.pool.hits - t.begin.pool.hits;
  (*stats)["expert_prefetched_used"] = t.end.pool.prefetches_used - t.begin.pool.prefetches_used;
  (*stats)["expert_prefetched_wasted"] = t.end.pool.prefetches_wasted - t.begin.pool.prefetches_wasted;
  int slots = 0;
  for (const ExpertPool::SizeClass& c : engine.plan().classes) slots += c.slots;
  (*stats)["pool_slots"] = slots;
  (*stats)["pool_bytes"] = engine.plan().pool_bytes;
  (*stats)["trunk_pinned_bytes"] = engine.plan().pinned_bytes;
  (*stats)["trunk_streamed_bytes"] = t.end.trunk_streamed_bytes - t.begin.trunk_streamed_bytes;
}

}  // namespace

nlohmann::ordered_json StatsJson(const Engine& engine, const RunTimeline& t) {
  nlohmann::ordered_json stats;
  stats["model"] = engine.config().name.empty() ? engine.path() : engine.config().name;
  stats["arch"] = engine.config().arch;
  stats["ram_budget_bytes"] = engine.plan().budget_bytes;
  stats["peak_rss_bytes"] = PeakResidentBytes();
  stats["threads"] = engine.threads();
  stats["io"] = std::string(engine.reader().name());
  stats["direct_io"] = engine.reader().direct_io();
  stats["kernels"] = std::string(engine.kernel_set_name());
  stats["prompt_tokens"] = t.prompt_tokens;
  stats["prompt_tokens_reused"] = t.prompt_tokens_reused;
  stats["prompt_seconds"] = SecondsOf(t.prompt_end.time_ns - t.begin.time_ns);
  stats["generated_tokens"] = t.generated_tokens;
  stats["generate_seconds"] = SecondsOf(t.end.time_ns - t.prompt_end.time_ns);
  stats["tokens_per_minute"] = TokensPerMinute(t);
  stats["time_to_first_token_seconds"] =
      t.generated_tokens > 0 ? SecondsOf(t.prompt_end.time_ns - t.begin.time_ns) : 0.0;
  AddReads(engine, t, &stats);
  stats["kv_bytes"] = engine.kv_bytes();
  stats["compute_seconds"] = SecondsOf((t.end.sweep_ns - t.begin.sweep_ns) - (t.end.stall_ns - t.begin.stall_ns));
  stats["stall_seconds"] = SecondsOf(t.end.stall_ns - t.begin.stall_ns);
  return stats;
}

std::string StatsText(const Engine& engine, const RunTimeline& timeline) {
  const nlohmann::ordered_json s = StatsJson(engine, timeline);
  const double lookups = s["expert_lookups"].get<double>();
  return absl::StrFormat(
      "prompt %d tokens in %.2f s; generated %d tokens in %.2f s: %.1f tokens/min\n"
      "read %.3f GB (%s%s, %.2f GB/s while generating, device busy %.0f %%); expert hits %.0f %%\n"
      "memory: budget %.1f MiB, peak %.1f MiB; compute %.2f s, waiting for reads %.2f s",
      timeline.prompt_tokens, s["prompt_seconds"].get<double>(), timeline.generated_tokens,
      s["generate_seconds"].get<double>(), s["tokens_per_minute"].get<double>(), s["bytes_read"].get<double>() / 1e9,
      s["io"].get<std::string>(), s["direct_io"].get<bool>() ? " direct" : "", s["read_gbps"].get<double>(),
      100.0 * s["device_busy_fraction"].get<double>(), 100.0 * Ratio(s["expert_hits"].get<double>(), lookups),
      s["ram_budget_bytes"].get<double>() / (1 << 20), s["peak_rss_bytes"].get<double>() / (1 << 20),
      s["compute_seconds"].get<double>(), s["stall_seconds"].get<double>());
}

}  // namespace sluice
