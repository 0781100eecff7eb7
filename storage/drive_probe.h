// How fast a drive gives random blocks of a model, by size and number in flight.
#ifndef SLUICE_STORAGE_DRIVE_PROBE_H_
#define SLUICE_STORAGE_DRIVE_PROBE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/block_reader.h"

namespace sluice {

struct DriveProbeOptions {
  std::vector<uint32_t> block_bytes = {256 << 10, 1 << 20, 4 << 20, 8 << 20};
  std::vector<int> depths = {1, 4, 16, 32};
  double seconds = 16;  // for all of it, about
  uint64_t seed = 1;    // of the places
  const std::atomic<bool>* stop = nullptr;
  std::function<void(int done, int total)> progress = [](int, int) {};
};

struct DriveRate {
  uint32_t block_bytes = 0;
  int depth = 0;
  double bytes_per_second = 0;
  uint64_t reads = 0;  // that this is the mean of
};

struct DriveProfile {
  std::vector<DriveRate> grid;
  DriveRate best;
  // What needs the fewest bytes in flight of all that are nearly as fast: more
  // would only make a demand wait behind others.
  DriveRate chosen;
};

// Reads through `reader`, which was opened with files of `file_sizes` and does
// not map them. Blocks larger than the largest file, and depths beyond the reader's capacity, are left
// out; refuses when nothing is left. Goes through the grid several times and
// averages, since drives have moods.
absl::StatusOr<DriveProfile> ProbeDrive(std::unique_ptr<BlockReader> reader, const std::vector<uint64_t>& file_sizes,
                                        const DriveProbeOptions& options);

}  // namespace sluice

#endif  // SLUICE_STORAGE_DRIVE_PROBE_H_
