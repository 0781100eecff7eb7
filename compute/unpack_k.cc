// K-quants: blocks of 256 elements with integer sub-scales.
#include "compute/block_codes.h"
#include "compute/load_bytes.h"

namespace sluice {
namespace {

// Two halves of 128 elements and 32 bytes: bits 2j and 2j+1 of byte l are
// element 32 * j + l of the half.
void UnpackTwoBits(const uint8_t* qs, int8_t* codes) {
  for (int half = 0; half < 2; ++half) {
    for (int j = 0; j < 4; ++j) {
      for (int l = 0; l < 32; ++l) {
        codes[128 * half + 32 * j + l] = static_cast<int8_t>((qs[32 * half + l] >> (2 * j)) & 3);
      }
    }
  }
}

// 32 bytes serve two groups of 32: low nibbles, then high nibbles.
void UnpackNibblePairs(const uint8_t* qs, int8_t* codes) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int l = 0; l < 32; ++l) {
      codes[64 * pair + l] = static_cast<int8_t>(qs[32 * pair + l] & 15);
      codes[64 * pair + 32 + l] = static_cast<int8_t>(qs[32 * pair + l] >> 4);
    }
  }
}

// Eight 6-bit scales and minimums in 12 bytes, each for 32 elements.
void UnpackSixBitScales(const uint8_t* bytes, BlockCodes* out) {
  for (int g = 0; g < 8; ++g) {
    int scale, minimum;
    if (g < 4) {
      scale = bytes[g] & 63;
      minimum = bytes[g + 4] & 63;
    } else {
      scale = (bytes[g + 4] & 15) | (bytes[g - 4] >> 6) << 4;
      minimum = (bytes[g + 4] >> 4) | (bytes[g] >> 6) << 4;
    }
    out->scales[2 * g] = out->scales[2 * g + 1] = static_cast<int16_t>(scale);
    out->mins[2 * g] = out->mins[2 * g + 1] = static_cast<int16_t>(minimum);
  }
}

}  // namespace

void UnpackQ2K(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block + 80);
  out->min_unit = -LoadF16(block + 82);
  for (int g = 0; g < 16; ++g) {
    out->scales[g] = block[g] & 15;
    out->mins[g] = block[g] >> 4;
  }
  UnpackTwoBits(block + 16, out->codes);
}

void UnpackQ3K(const uint8_t* block, BlockCodes* out) {
  const uint8_t* scales = block + 96;
  out->unit = LoadF16(block + 108);
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
    const int high = (scales[8 + g % 4] >> (2 * (g / 4))) & 3;
    out->scales[g] = static_cast<int16_t>((low | high << 4) - 32);
  }
  UnpackTwoBits(block + 32, out->codes);
  // A set bit means "do not subtract 4".
  for (int i = 0; i < 256; ++i) {
    if (((block[i % 32] >> (i / 32)) & 1) == 0) out->codes[i] = static_cast<int8_t>(out->codes[i] - 4);
  }
}

void UnpackQ4K(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block);
  out->min_unit = -LoadF16(block + 2);
  UnpackSixBitScales(block + 4, out);
  UnpackNibblePairs(block + 16, out->codes);
}

void UnpackQ5K(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block);
  out->min_unit = -LoadF16(block + 2);
  UnpackSixBitScales(block + 4, out);
  UnpackNibblePairs(block + 48, out->codes);
  const uint8_t* high = block + 16;
  for (int i = 0; i < 256; ++i) {
    out->codes[i] = static_cast<int8_t>(out->codes[i] | ((high[i % 32] >> (i / 32)) & 1) << 4);
  }
}

void UnpackQ6K(const uint8_t* block, BlockCodes* out) {
  out->unit = LoadF16(block + 208);
  for (int g = 0; g < 16; ++g) out->scales[g] = static_cast<int8_t>(block[192 + g]);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    for (int i = 0; i < 128; ++i) {
      const int j = i / 32;
      const int low_bits = (low[i % 64] >> (4 * (j / 2))) & 15;
      const int high_bits = (high[i % 32] >> (2 * j)) & 3;
      out->codes[128 * half + i] = static_cast<int8_t>((low_bits | high_bits << 4) - 32);
    }
  }
}

}  // namespace sluice
