// How fast a drive gives random blocks of a model, by size and number in flight,
// and the pattern to read it with.
//
// Drives have moods, and one cell of a grid is the fastest of every grid. So the
// usual pattern stands unless another is clearly faster, and is so again when the
// two are held against each other alone.
#ifndef SLUICE_STORAGE_DRIVE_PROBE_H_
#define SLUICE_STORAGE_DRIVE_PROBE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "storage/block_reader.h"
#include "storage/read_pattern.h"

namespace sluice {

struct DriveProbeOptions {
  // A look at a drive that a run would rather not wait for.
  static DriveProbeOptions Short();

  std::vector<uint32_t> block_bytes = {256 << 10, 1 << 20, 4 << 20, 8 << 20};
  std::vector<int> depths = {1, 4, 16, 32};
  uint64_t most_bytes_in_flight = std::numeric_limits<uint64_t>::max();  // cells with more are left out
  int rounds = 5;                                                        // through the grid
  int pairs = 7;                                                         // of the second look, 2 at least
  double seconds = 16;  // for all of it, about; a slow drive is seen fewer times
  uint64_t seed = 1;    // of the places
  const std::atomic<bool>* stop = nullptr;
  std::function<void(int done, int total)> progress = [](int, int) {};
  std::function<int64_t()> now_ns = NowNs;
};

struct DriveRate {
  uint32_t block_bytes = 0;
  int depth = 0;
  double bytes_per_second = 0;  // the median of the rounds
  uint64_t reads = 0;           // in all of them
};

struct DriveProfile {
  // A pattern must be faster than the usual one by more than this to be chosen.
  static constexpr double kClearlyFaster = 1.08;

  std::vector<DriveRate> grid;
  DriveRate best;
  // The usual pattern, or the one that is clearly faster. Where the usual one could
  // not be measured: what needs the fewest bytes in flight of all that are nearly
  // as fast as the best.
  DriveRate chosen;
  // Of the second look, the challenger's rate over the usual one's that all pairs
  // but one reached; 0 when no challenger was clearly faster at first.
  double second_look = 0;

  ReadPattern pattern() const { return {chosen.block_bytes, chosen.depth, "measured"}; }
};

// Reads through `reader`, which was opened with files of `file_sizes` and does
// not map them. Blocks larger than the largest file, and depths beyond the reader's capacity, are left
// out; refuses when nothing is left.
absl::StatusOr<DriveProfile> ProbeDrive(std::unique_ptr<BlockReader> reader, const std::vector<uint64_t>& file_sizes,
                                        const DriveProbeOptions& options);

}  // namespace sluice

#endif  // SLUICE_STORAGE_DRIVE_PROBE_H_
