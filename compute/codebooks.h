// The code books of the block formats: what an index of a few bits stands for.
//
// A grid entry is its elements side by side, a byte each, element 0 in the
// lowest byte: memcpy on a little-endian machine, or one lane of a gather.
// Magnitudes are positive; signs come from the block. Nothing here is built at
// run time.
#ifndef SLUICE_COMPUTE_CODEBOOKS_H_
#define SLUICE_COMPUTE_CODEBOOKS_H_

#include <array>
#include <cstdint>

namespace sluice {

extern const std::array<uint64_t, 256> kIq2XxsGrid;
extern const std::array<uint64_t, 512> kIq2XsGrid;
extern const std::array<uint64_t, 1024> kIq2SGrid;
extern const std::array<uint32_t, 256> kIq3XxsGrid;
extern const std::array<uint32_t, 512> kIq3SGrid;
extern const std::array<uint64_t, 2048> kIq1Grid;  // int8 elements -1, 0, 1; iq1_s and iq1_m

// What the levels of packed entries stand for.
inline constexpr int8_t kIq1Levels[] = {-1, 0, 1};
inline constexpr int8_t kIq2Levels[] = {8, 25, 43};
inline constexpr int8_t kIq3XxsLevels[] = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr int8_t kIq3SLevels[] = {1, 3, 5, 7, 9, 11, 13, 15};

// Packed entries, for look-ups by byte permutation: first the first half of every
// entry, then the second. Of iq2 a half is four levels of two bits, the first one in
// the lowest bits; of iq3 two levels of three bits, the second one in the lowest.
extern const std::array<uint8_t, 2 * 256> kIq2XxsPlanes;
extern const std::array<uint8_t, 2 * 512> kIq2XsPlanes;
extern const std::array<uint8_t, 2 * 256> kIq3XxsPlanes;
extern const std::array<uint8_t, 2 * 512> kIq3SPlanes;
// The first level of each half in the lower nibble, bit 3 set in both: ones' complement makes it that of the other
// sign.
extern const std::array<uint8_t, 2 * 512> kIq3SNibbles;
// What interleaved weights have instead of indices (compute/interleave.h), by index; the low byte in byte 0, what is
// above in byte 4. compute/codebook_labels.h has what a label stands for.
extern const std::array<uint64_t, 512> kIq2XsLabels;
extern const std::array<uint64_t, 1024> kIq2SLabels;
extern const std::array<uint64_t, 2048> kIq1Labels;
// For gathers: bytes 0 and 1 of a dword are the first half of a packed entry, bytes 2
// and 3 the second.
extern const std::array<uint32_t, 512> kIq2XsHalves;
extern const std::array<uint32_t, 1024> kIq2SHalves;
extern const std::array<uint32_t, 512> kIq2XsHalvesByLabel;
extern const std::array<uint32_t, 1024> kIq2SHalvesByLabel;
extern const std::array<uint32_t, 2048> kIq1Halves;
extern const std::array<uint32_t, 2048> kIq1HalvesByLabel;
// A level in each nibble, of elements 0, 4, 1, 5 ... from the lowest on.
extern const std::array<uint32_t, 2048> kIq1Nibbles;

// A 7-bit sign number to its sign byte: bit j set means element j is negative.
extern const std::array<uint8_t, 128> kSigns7Bit;

extern const std::array<int8_t, 16> kIq4NlValues;  // iq4_nl and iq4_xs
extern const std::array<int8_t, 16> kMxfp4Values;  // twice the E2M1 numbers

}  // namespace sluice

#endif  // SLUICE_COMPUTE_CODEBOOKS_H_
