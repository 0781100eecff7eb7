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

// Four lower bytes of indices, whose upper bits are kBits each, kStride apart, become those of labels; returns the
// upper bytes of the labels.
template <int kBits, int kStride, class Labels>
uint32_t LabelFour(const Labels& labels, uint32_t high, uint8_t* bytes) {
  const uint32_t low = LoadU32(bytes);
  const auto label = [&](int i) {
    return labels[(low >> (8 * i) & 0xff) | (high >> (kStride * i) & ((1u << kBits) - 1)) << 8] << (8 * i);
  };
  const uint64_t four = label(0) | label(1) | label(2) | label(3);
  std::memcpy(bytes, &four, 4);
  return static_cast<uint32_t>(four >> 32);
}
// Even bytes shifted by `even`, odd ones by `odd`.
uint32_t ShiftedBytes(uint32_t bytes, int even, int odd) {
  return (bytes & 0x00ff00ff) << even | (bytes & 0xff00ff00) << odd;
}

// Four low bytes, and their ninth and tenth bits in one byte. Those of four parts go to the bytes they belong to, in
// odd bytes the last part first.
void LabelIq2S(uint8_t* block) {
  for (int four = 0; four < 2; ++four) {
    uint32_t bits = 0;
    for (int part = 0; part < 4; ++part) {
      uint8_t* low = block + 2 + 16 * four + 4 * part;
      const uint32_t upper = LabelFour<2, 2>(kIq2SLabels, block[66 + 4 * four + part], low);
      bits |= ShiftedBytes(upper, 2 * part, 6 - 2 * part);
    }
    std::memcpy(block + 66 + 4 * four, &bits, 4);
  }
}

// Two parts: four low bytes each; of iq1_s, four times three upper bits each, scale and sign of a delta above them.
// Those upper bits go beside each other in the bytes they belong to, and what was above them where there is room.
void LabelIq1S(uint8_t* block) {
  for (int pair = 0; pair < 4; ++pair) {
    uint32_t bits = 0;
    for (int part = 0; part < 2; ++part) {
      const uint32_t high = LoadU32(block + 34 + 4 * pair) >> (16 * part);
      const uint32_t upper = LabelFour<3, 3>(kIq1Labels, high, block + 2 + 8 * pair + 4 * part);
      bits |= ShiftedBytes(upper, 3 * part, 2 + 3 * part) | (high >> 12 & 15) << (6 + 16 * part);
    }
    std::memcpy(block + 34 + 4 * pair, &bits, 4);
  }
}

// The sign bits above four times three, in the byte they belong to.
uint32_t SpreadSigns(uint32_t nibbles) {
  return (nibbles & 0x8) | (nibbles & 0x80) << 4 | (nibbles & 0x800) << 8 | (nibbles & 0x8000) << 12;
}

// Of iq1_m, nibbles of three upper bits and the sign of a delta: those of both parts go to the byte they belong to, in
// odd bytes the upper bits of the second part below those of the first one.
void LabelIq1M(uint8_t* block) {
  for (int pair = 0; pair < 4; ++pair) {
    uint32_t bits = 0;
    for (int part = 0; part < 2; ++part) {
      const uint32_t high = LoadU32(block + 32 + 4 * pair) >> (16 * part);
      const uint32_t upper = LabelFour<3, 4>(kIq1Labels, high, block + 8 * pair + 4 * part);
      bits |= ShiftedBytes(upper, 4 * part, 4 - 4 * part) | SpreadSigns(high) << (4 * part);
    }
    std::memcpy(block + 32 + 4 * pair, &bits, 4);
  }
}

void PrepareBlock(TensorType type, uint8_t* block) {
  if (type == TensorType::kIQ1S) LabelIq1S(block);
  if (type == TensorType::kIQ1M) LabelIq1M(block);
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
