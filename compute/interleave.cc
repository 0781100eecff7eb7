#include "compute/interleave.h"

#include <cstring>

#include "base/check.h"
#include "compute/codebooks.h"
#include "compute/load_bytes.h"

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

// Every second byte of a quadword, side by side.
uint64_t EvenBytes(uint64_t bytes) {
  bytes &= 0x00ff00ff00ff00ff;
  bytes = (bytes | bytes >> 8) & 0x0000ffff0000ffff;
  return (bytes | bytes >> 16) & 0xffffffff;
}

// Four words of nine bits of index and seven of signs: labels instead of indices, low bytes in front of high bytes.
void LabelIq2Xs(uint8_t* block) {
  for (int i = 0; i < 8; ++i) {
    uint64_t words;
    std::memcpy(&words, block + 2 + 8 * i, sizeof words);
    const uint64_t signs = (EvenBytes(words >> 8) & 0xfefefefe) << 32;
    const uint64_t parted = signs | kIq2XsLabels[words & 511] | kIq2XsLabels[words >> 16 & 511] << 8 |
                            kIq2XsLabels[words >> 32 & 511] << 16 | kIq2XsLabels[words >> 48 & 511] << 24;
    std::memcpy(block + 2 + 8 * i, &parted, sizeof parted);
  }
}

uint64_t LabelOfIq2S(uint32_t low, uint32_t high) { return kIq2SLabels[(low & 0xff) | (high & 3) << 8]; }

// Four low bytes, and their ninth and tenth bits in one byte.
void LabelIq2S(uint8_t* block) {
  for (int part = 0; part < 8; ++part) {
    const uint32_t low = LoadU32(block + 2 + 4 * part), high = block[66 + part];
    const uint64_t labels = LabelOfIq2S(low, high) | LabelOfIq2S(low >> 8, high >> 2) << 8 |
                            LabelOfIq2S(low >> 16, high >> 4) << 16 | LabelOfIq2S(low >> 24, high >> 6) << 24;
    std::memcpy(block + 2 + 4 * part, &labels, 4);
    const uint64_t twos = labels >> 32;
    block[66 + part] = static_cast<uint8_t>(twos | twos >> 6 | twos >> 12 | twos >> 18);
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
