// A quantised block taken apart: integer codes, integer sub-scales, float units.
//
// Every block type is written once, as the function that fills a BlockCodes;
// decoding to float32 and the portable products are the same for all types:
//     w[i] = (unit * scales[i / 16]) * codes[i]                   (exact)
//          [ + min_unit * mins[i / 16], for types with minimums ] (rounds once)
// scales[g] * codes[i] always fits int16: the largest is q6_K's 128 * 32.
#ifndef SLUICE_COMPUTE_BLOCK_CODES_H_
#define SLUICE_COMPUTE_BLOCK_CODES_H_

#include <cstdint>

#include "base/tensor_type.h"

namespace sluice {

inline constexpr int kGroupElements = 16;

struct BlockCodes {
  float unit;
  float min_unit;      // the types with minimums only
  int16_t scales[16];  // of each 16 elements; 1 in blocks of 32
  int16_t mins[16];    // likewise
  int8_t codes[256];   // the first block_elements of them
};

// Any alignment; reads the block's bytes and no more.
using UnpackFn = void (*)(const uint8_t* block, BlockCodes* out);

struct BlockFormat {
  int elements;
  int bytes;
  bool has_minimums;
  UnpackFn unpack;  // null for types without blocks
};

// Of any enumerator; `unpack` is null when the type has no blocks.
const BlockFormat& BlockFormatOf(TensorType type);

// Blocks of 32.
void UnpackQ4_0(const uint8_t* block, BlockCodes* out);
void UnpackQ4_1(const uint8_t* block, BlockCodes* out);
void UnpackQ5_0(const uint8_t* block, BlockCodes* out);
void UnpackQ5_1(const uint8_t* block, BlockCodes* out);
void UnpackQ8_0(const uint8_t* block, BlockCodes* out);
void UnpackIq4Nl(const uint8_t* block, BlockCodes* out);
void UnpackMxfp4(const uint8_t* block, BlockCodes* out);
// K-quants.
void UnpackQ2K(const uint8_t* block, BlockCodes* out);
void UnpackQ3K(const uint8_t* block, BlockCodes* out);
void UnpackQ4K(const uint8_t* block, BlockCodes* out);
void UnpackQ5K(const uint8_t* block, BlockCodes* out);
void UnpackQ6K(const uint8_t* block, BlockCodes* out);
// Code books.
void UnpackIq4Xs(const uint8_t* block, BlockCodes* out);
void UnpackIq2Xxs(const uint8_t* block, BlockCodes* out);
void UnpackIq2Xs(const uint8_t* block, BlockCodes* out);
void UnpackIq2S(const uint8_t* block, BlockCodes* out);
void UnpackIq3Xxs(const uint8_t* block, BlockCodes* out);
void UnpackIq3S(const uint8_t* block, BlockCodes* out);
void UnpackIq1S(const uint8_t* block, BlockCodes* out);
void UnpackIq1M(const uint8_t* block, BlockCodes* out);

}  // namespace sluice

#endif  // SLUICE_COMPUTE_BLOCK_CODES_H_
