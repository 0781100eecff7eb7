// Blocks of 32 elements.
#include <algorithm>
#include <cmath>

#include "compute/block_codes.h"
#include "compute/codebooks.h"
#include "compute/load_bytes.h"

namespace sluice {
namespace {

void SetUnits(float unit, float min_unit, BlockCodes* out) {
  out->unit = unit;
  out->min_unit = min_unit;
  out->scales[0] = out->scales[1] = 1;
  out->mins[0] = out->mins[1] = 1;
}

// Byte j of 16: low nibble to element j, high nibble to element j + 16.
void UnpackNibbles(const uint8_t* qs, int8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = static_cast<int8_t>(qs[j] & 15);
    codes[j + 16] = static_cast<int8_t>(qs[j] >> 4);
  }
}

void AddFifthBits(uint32_t qh, int8_t* codes) {
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<int8_t>(codes[i] + (((qh >> i) & 1) << 4));
}

void Subtract(int offset, int8_t* codes) {
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<int8_t>(codes[i] - offset);
}

void LookUp(const std::array<int8_t, 16>& table, int8_t* codes) {
  for (int i = 0; i < 32; ++i) codes[i] = table[static_cast<size_t>(codes[i])];
}

}  // namespace

void UnpackQ4_0(const uint8_t* block, BlockCodes* out) {
  SetUnits(LoadF16(block), 0, out);
  UnpackNibbles(block + 2, out->codes);
  Subtract(8, out->codes);
}

void UnpackQ4_1(const uint8_t* block, BlockCodes* out) {
  SetUnits(LoadF16(block), LoadF16(block + 2), out);
  UnpackNibbles(block + 4, out->codes);
}

void UnpackQ5_0(const uint8_t* block, BlockCodes* out) {
  SetUnits(LoadF16(block), 0, out);
  UnpackNibbles(block + 6, out->codes);
  AddFifthBits(LoadU32(block + 2), out->codes);
  Subtract(16, out->codes);
}

void UnpackQ5_1(const uint8_t* block, BlockCodes* out) {
  SetUnits(LoadF16(block), LoadF16(block + 2), out);
  UnpackNibbles(block + 8, out->codes);
  AddFifthBits(LoadU32(block + 4), out->codes);
}

void UnpackQ8_0(const uint8_t* block, BlockCodes* out) {
  SetUnits(LoadF16(block), 0, out);
  std::memcpy(out->codes, block + 2, 32);
}

void UnpackIq4Nl(const uint8_t* block, BlockCodes* out) {
  SetUnits(LoadF16(block), 0, out);
  UnpackNibbles(block + 2, out->codes);
  LookUp(kIq4NlValues, out->codes);
}

// The table holds twice the E2M1 numbers, hence 128 in place of the usual bias
// of 127. The unit is a subnormal for exponent bytes 0 and 1.
void UnpackMxfp4(const uint8_t* block, BlockCodes* out) {
  SetUnits(std::ldexp(1.0f, block[0] - 128), 0, out);
  UnpackNibbles(block + 1, out->codes);
  LookUp(kMxfp4Values, out->codes);
}

}  // namespace sluice
