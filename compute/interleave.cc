#include "compute/interleave.h"

#include <cstring>

#include "base/check.h"
#include "compute/codebooks.h"

namespace sluice {
namespace {

// kBytes of the block of each row, side by side; returns where they end.
template <size_t kBytes>
uint8_t* PutField(const uint8_t* from, size_t stride, uint8_t* to) {
  for (int64_t row = 0; row < kInterleavedRows; ++row) {
    std::memcpy(to + row * static_cast<int64_t>(kBytes), from + row * static_cast<int64_t>(stride), kBytes);
  }
  return to + kInterleavedRows * static_cast<int64_t>(kBytes);
}

// Four words of nine bits of index and seven of signs: labels instead of indices, low bytes in front of high bytes.
void LabelWords(uint8_t* words) {
  uint8_t parted[8];
  for (int i = 0; i < 4; ++i) {
    const unsigned label = kIq2XsLabels[words[2 * i] | (words[2 * i + 1] & 1u) << 8];
    parted[i] = static_cast<uint8_t>(label);
    parted[4 + i] = static_cast<uint8_t>((words[2 * i + 1] & 0xfe) | label >> 8);
  }
  std::memcpy(words, parted, sizeof parted);
}

void LabelIq2Xs(uint8_t* block) {
  for (int i = 0; i < 8; ++i) LabelWords(block + 2 + 8 * i);
}

void LabelIq2S(uint8_t* block) {
  for (int part = 0; part < 8; ++part) {
    uint8_t* const low = block + 2 + 4 * part;
    uint8_t* const high = block + 66 + part;
    unsigned labels_high = 0;
    for (int i = 0; i < 4; ++i) {
      const unsigned label = kIq2SLabels[low[i] | (*high >> (2 * i) & 3u) << 8];
      low[i] = static_cast<uint8_t>(label);
      labels_high |= label >> 8 << (2 * i);
    }
    *high = static_cast<uint8_t>(labels_high);
  }
}

void PrepareBlock(TensorType type, uint8_t* block) {
  if (type == TensorType::kIQ2XS) LabelIq2Xs(block);
  if (type == TensorType::kIQ2S) LabelIq2S(block);
}

}  // namespace

void InterleavePanel(TensorType type, int64_t n_in, uint8_t* panel, uint8_t* scratch) {
  const size_t row_bytes = RowBytes(type, n_in), block_bytes = InfoOf(type).block_bytes;
  SLUICE_CHECK(block_bytes % 2 == 0 && block_bytes > 4);
  std::memcpy(scratch, panel, kInterleavedRows * row_bytes);
  for (size_t at = 0; at < kInterleavedRows * row_bytes; at += block_bytes) PrepareBlock(type, scratch + at);
  const size_t head_bytes = block_bytes % 4;
  for (size_t block = 0; block < row_bytes; block += block_bytes) {
    if (head_bytes != 0) panel = PutField<2>(scratch + block, row_bytes, panel);
    for (size_t field = head_bytes; field < block_bytes; field += 4) {
      panel = PutField<4>(scratch + block + field, row_bytes, panel);
    }
  }
}

}  // namespace sluice
