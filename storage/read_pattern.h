// In what pieces a drive is read, and how many of them at once.
#ifndef SLUICE_STORAGE_READ_PATTERN_H_
#define SLUICE_STORAGE_READ_PATTERN_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_format.h"

namespace sluice {

// Pieces land in the slots they are for, so no pattern takes memory of its own.
struct ReadPattern {
  static constexpr uint32_t kLeastChunkBytes = 64 << 10;
  static constexpr uint32_t kMostChunkBytes = 8 << 20;
  static constexpr int kMostDepth = 32;
  // More in flight only makes a demand wait behind others.
  static constexpr uint64_t kMostBytesInFlight = uint64_t{64} << 20;

  // On a virtual drive where the mean of every cell of a grid was 1.3 to 1.7 GB/s
  // this one gave 19 % more than 1 MiB x 16; others hardly tell the two apart.
  uint32_t chunk_bytes = 4 << 20;
  int depth = 4;
  std::string origin = "the default";  // for people

  uint64_t bytes_in_flight() const { return uint64_t{chunk_bytes} * static_cast<uint64_t>(depth); }
  bool SameAs(const ReadPattern& other) const { return chunk_bytes == other.chunk_bytes && depth == other.depth; }
  // Whether an engine may read so.
  bool IsSound() const {
    return chunk_bytes >= kLeastChunkBytes && chunk_bytes <= kMostChunkBytes && chunk_bytes % 4096 == 0 && depth >= 1 &&
           depth <= kMostDepth && bytes_in_flight() <= kMostBytesInFlight;
  }
  std::string ToText() const { return absl::StrFormat("%d KiB x %d in flight (%s)", chunk_bytes >> 10, depth, origin); }
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_READ_PATTERN_H_
