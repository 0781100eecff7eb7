#include "storage/copy_chooser.h"

#include <doctest/doctest.h>

#include <array>
#include <deque>

namespace sluice {
namespace {

constexpr uint64_t kChunk = 1 << 20;

// Two simulated drives that serve their queues in order at `bytes_per_ns`;
// `depth` chunks under way at all times. Returns what each copy delivered.
std::array<uint64_t, 2> Deliver(CopyChooser* chooser, std::array<double, 2> bytes_per_ns, int chunks, int depth) {
  std::array<std::deque<int64_t>, 2> ends;
  std::array<uint64_t, 2> delivered = {0, 0};
  int64_t now_ns = 0;
  const auto submit = [&] {
    const int copy = chooser->Choose(kChunk);
    chooser->Submitted(copy, kChunk, now_ns);
    const int64_t begin = ends[copy].empty() ? now_ns : std::max(now_ns, ends[copy].back());
    ends[copy].push_back(begin + static_cast<int64_t>(static_cast<double>(kChunk) / bytes_per_ns[copy]));
  };
  for (int i = 0; i < depth; ++i) submit();
  for (int i = 0; i < chunks; ++i) {
    const bool second = ends[0].empty() || (!ends[1].empty() && ends[1].front() < ends[0].front());
    now_ns = ends[second].front();
    ends[second].pop_front();
    delivered[second] += kChunk;
    chooser->Finished(second, kChunk, now_ns);
    submit();
  }
  return delivered;
}

TEST_CASE("two equal drives deliver the same") {
  CopyChooser chooser;
  const auto delivered = Deliver(&chooser, {2.0, 2.0}, 4000, 32);
  CHECK(static_cast<double>(delivered[0]) / static_cast<double>(delivered[1]) == doctest::Approx(1.0).epsilon(0.05));
}

TEST_CASE("reads are shared in proportion to speed, whichever copy is faster") {
  for (const bool first : {true, false}) {
    CopyChooser chooser;
    const std::array<double, 2> speeds = first ? std::array<double, 2>{3.0, 1.0} : std::array<double, 2>{1.0, 3.0};
    const auto delivered = Deliver(&chooser, speeds, 8000, 32);
    const double ratio = static_cast<double>(delivered[first ? 0 : 1]) / static_cast<double>(delivered[first ? 1 : 0]);
    CHECK(ratio == doctest::Approx(3.0).epsilon(0.1));
  }
}

TEST_CASE("a drive that changes its speed changes its share") {
  CopyChooser chooser;
  Deliver(&chooser, {3.0, 1.0}, 4000, 32);
  CopyChooser later = chooser;
  const auto delivered = Deliver(&later, {0.5, 2.0}, 8000, 32);
  CHECK(delivered[1] > 3 * delivered[0]);
}

TEST_CASE("a drive that does not answer gets no more than it owes") {
  CopyChooser chooser;
  for (int i = 0; i < 16; ++i) chooser.Submitted(1, kChunk, 0);
  for (int i = 0; i < 15; ++i) {
    CHECK(chooser.Choose(kChunk) == 0);
    chooser.Submitted(0, kChunk, 0);
  }
}

}  // namespace
}  // namespace sluice
