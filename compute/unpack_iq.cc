// Code-book types: blocks of 256 elements, eight sub-blocks of four groups of 8.
//
// Fractions in the formulas (0.5 + scale, an eighth as delta) move into the
// unit, so that codes and scales are integers. A power of two times the f16
// unit is exact.
#include "compute/block_codes.h"
#include "compute/codebooks.h"
#include "compute/load_bytes.h"

namespace sluice {
namespace {

// A group of 8: magnitudes as they lie in a grid entry, signs from a byte.
void PutSigned(uint64_t magnitudes, uint8_t signs, int8_t* codes) {
  std::memcpy(codes, &magnitudes, 8);
  for (int j = 0; j < 8; ++j) {
    if ((signs >> j) & 1) codes[j] = static_cast<int8_t>(-codes[j]);
  }
}

// Sub-block b has one odd scale for its 32 elements.
void SetOddScale(int b, uint32_t scale, BlockCodes* out) {
  out->scales[2 * b] = out->scales[2 * b + 1] = static_cast<int16_t>(2 * scale + 1);
}

// Sub-block b has one odd scale for each 16 of its elements, nibbles of a byte.
void SetOddScales(int b, uint8_t nibbles, BlockCodes* out) {
  out->scales[2 * b] = static_cast<int16_t>(2 * (nibbles & 15) + 1);
  out->scales[2 * b + 1] = static_cast<int16_t>(2 * (nibbles >> 4) + 1);
}

uint64_t Iq3Pair(uint32_t first, uint32_t second) { return first | static_cast<uint64_t>(second) << 32; }

// Eight times the grid value plus delta: 8 * {-1, 0, 1} +- 1.
void PutIq1(uint32_t index, bool negative_delta, int8_t* codes) {
  int8_t grid[8];
  std::memcpy(grid, &kIq1Grid[index], 8);
  for (int j = 0; j < 8; ++j) codes[j] = static_cast<int8_t>(8 * grid[j] + (negative_delta ? -1 : 1));
}

}  // namespace

void UnpackIq4Xs(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block);
  const uint32_t high = LoadU16(block + 2);
  for (int b = 0; b < 8; ++b) {
    const int low = (block[4 + b / 2] >> (4 * (b % 2))) & 15;
    const int scale = (low | ((high >> (2 * b)) & 3) << 4) - 32;
    out->scales[2 * b] = out->scales[2 * b + 1] = static_cast<int16_t>(scale);
    const uint8_t* qs = block + 8 + 16 * b;
    for (int j = 0; j < 16; ++j) {
      out->codes[32 * b + j] = kIq4NlValues[qs[j] & 15];
      out->codes[32 * b + 16 + j] = kIq4NlValues[qs[j] >> 4];
    }
  }
}

// w = +- d * (0.5 + scale) * 0.25 * grid = (d / 8) * (2 * scale + 1) * +-grid
void UnpackIq2Xxs(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block) * 0.125f;
  for (int b = 0; b < 8; ++b) {
    const uint8_t* indices = block + 2 + 8 * b;
    const uint32_t word = LoadU32(indices + 4);
    SetOddScale(b, word >> 28, out);
    for (int l = 0; l < 4; ++l) {
      PutSigned(kIq2XxsGrid[indices[l]], kSigns7Bit[(word >> (7 * l)) & 127], out->codes + 32 * b + 8 * l);
    }
  }
}

void UnpackIq2Xs(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block) * 0.125f;
  for (int b = 0; b < 8; ++b) {
    SetOddScales(b, block[66 + b], out);
    for (int l = 0; l < 4; ++l) {
      const uint32_t v = LoadU16(block + 2 + 8 * b + 2 * l);
      PutSigned(kIq2XsGrid[v & 511], kSigns7Bit[v >> 9], out->codes + 32 * b + 8 * l);
    }
  }
}

void UnpackIq2S(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block) * 0.125f;
  const uint8_t* low = block + 2;
  const uint8_t* signs = block + 34;
  const uint8_t* high = block + 66;
  for (int b = 0; b < 8; ++b) {
    SetOddScales(b, block[74 + b], out);
    for (int l = 0; l < 4; ++l) {
      const uint32_t index = low[4 * b + l] | ((high[b] >> (2 * l)) & 3u) << 8;
      PutSigned(kIq2SGrid[index], signs[4 * b + l], out->codes + 32 * b + 8 * l);
    }
  }
}

// w = +- d * (0.5 + scale) * 0.5 * grid = (d / 4) * (2 * scale + 1) * +-grid
void UnpackIq3Xxs(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block) * 0.25f;
  for (int b = 0; b < 8; ++b) {
    const uint8_t* indices = block + 2 + 8 * b;
    const uint32_t word = LoadU32(block + 66 + 4 * b);
    SetOddScale(b, word >> 28, out);
    for (int l = 0; l < 4; ++l) {
      const uint64_t magnitudes = Iq3Pair(kIq3XxsGrid[indices[2 * l]], kIq3XxsGrid[indices[2 * l + 1]]);
      PutSigned(magnitudes, kSigns7Bit[(word >> (7 * l)) & 127], out->codes + 32 * b + 8 * l);
    }
  }
}

void UnpackIq3S(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block);
  const uint8_t* high = block + 66;
  const uint8_t* signs = block + 74;
  for (int b = 0; b < 8; ++b) {
    const uint8_t* low = block + 2 + 8 * b;
    SetOddScale(b, (block[106 + b / 2] >> (4 * (b % 2))) & 15, out);
    const auto quad = [&](int k) { return kIq3SGrid[low[k] | ((high[b] >> k) & 1u) << 8]; };
    for (int l = 0; l < 4; ++l) {
      PutSigned(Iq3Pair(quad(2 * l), quad(2 * l + 1)), signs[4 * b + l], out->codes + 32 * b + 8 * l);
    }
  }
}

// w = d * (2 * scale + 1) * (grid +- 1/8) = (d / 8) * (2 * scale + 1) * (8 * grid +- 1)
void UnpackIq1S(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block) * 0.125f;
  for (int b = 0; b < 8; ++b) {
    const uint32_t high = LoadU16(block + 34 + 2 * b);
    SetOddScale(b, (high >> 12) & 7, out);
    for (int l = 0; l < 4; ++l) {
      const uint32_t index = block[2 + 4 * b + l] | ((high >> (3 * l)) & 7) << 8;
      PutIq1(index, (high & 0x8000) != 0, out->codes + 32 * b + 8 * l);
    }
  }
}

// The f16 unit lies in the top nibbles of the four scale words.
void UnpackIq1M(const uint8_t* block, BlockCodes* out) {
  const uint8_t* scales = block + 48;
  uint32_t unit = 0;
  for (int k = 0; k < 4; ++k) unit |= static_cast<uint32_t>(LoadU16(scales + 2 * k) >> 12) << (4 * k);
  out->unit = F16ToF32(static_cast<uint16_t>(unit)) * 0.125f;
  for (int t = 0; t < 16; ++t) {
    const uint32_t word = LoadU16(scales + 2 * (t / 4));
    out->scales[t] = static_cast<int16_t>(2 * ((word >> (3 * (t % 4))) & 7) + 1);
  }
  for (int group = 0; group < 32; ++group) {
    const uint32_t nibble = (block[32 + group / 2] >> (4 * (group % 2))) & 15u;
    PutIq1(block[group] | (nibble & 7) << 8, (nibble & 8) != 0, out->codes + 8 * group);
  }
}

}  // namespace sluice
