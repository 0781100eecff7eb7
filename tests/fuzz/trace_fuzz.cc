// Arbitrary bytes as a routing trace: refused with one line, or a trace whose
// events hold what it promises and can be replayed.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "prefetch/policies.h"
#include "prefetch/replay.h"

namespace sluice {
namespace {

void CheckEvents(const RoutingTrace& trace) {
  SLUICE_CHECK(trace.events() == trace.sweeps() * static_cast<size_t>(trace.layers()));
  SLUICE_CHECK(trace.sweeps() >= 1 && trace.sweeps() <= trace.tokens().size());
  for (size_t event = 0; event < trace.events(); ++event) {
    const absl::Span<const int> experts = trace.EventExperts(event);
    SLUICE_CHECK(experts.size() >= static_cast<size_t>(trace.top_k()));
    SLUICE_CHECK(experts.front() >= 0 && experts.back() < trace.experts());
    SLUICE_CHECK(std::adjacent_find(experts.begin(), experts.end(), std::greater_equal<int>()) == experts.end());
  }
}

void CheckReplay(const RoutingTrace& trace) {
  const auto optimal = MakeClairvoyantPolicy(trace);
  const auto lru = MakeLruPolicy(trace.layers(), trace.experts());
  const ReplayPool pool = ReplayPool::BySize(trace, 0.1);
  const ReplayResult best = Replay(trace, *optimal, pool);
  const auto previous = MakePreviousPredictor(trace.layers());
  const ReplayResult other = Replay(trace, *lru, pool, previous.get());
  SLUICE_CHECK(best.hits <= best.lookups && best.lookups == other.lookups);
  SLUICE_CHECK(other.prefetches_used <= other.prefetches && other.prefetches_used <= other.hits);
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  (void)sluice::DecompressZstd(text, 1 << 20).ok();
  const auto trace = sluice::RoutingTrace::Parse(text);
  if (!trace.ok()) {
    SLUICE_CHECK(trace.status().message().find('\n') == absl::string_view::npos);
    return 0;
  }
  sluice::CheckEvents(*trace);
  // A record for each layer and expert is kept: not for the largest headers.
  if (trace->layers() * trace->experts() <= 1 << 16) sluice::CheckReplay(*trace);
  return 0;
}
