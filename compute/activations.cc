#include "compute/activations.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/checked_math.h"

namespace sluice {
namespace {

constexpr uint32_t kInfinityBits = 0x7f800000;
constexpr float kTiny = 0x1p-100f;     // below it a block is taken for zeros
constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer

// Of `n` values. Integer comparison, so that a NaN cannot hide.
uint32_t LargestMagnitudeBits(const float* x, int n) {
  uint32_t largest = 0;
  for (int i = 0; i < n; ++i) largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & 0x7fffffff);
  return largest;
}

// Writes the n codes of a block and returns its scale.
float QuantizeValues(const float* x, int n, int8_t* codes) {
  const uint32_t bits = LargestMagnitudeBits(x, n);
  const float amax = std::bit_cast<float>(bits);
  if (bits >= kInfinityBits || amax < kTiny) {
    std::memset(codes, 0, static_cast<size_t>(n));
    return bits >= kInfinityBits ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
  }
  const float inverse = 127.0f / amax;
  for (int i = 0; i < n; ++i) {
    codes[i] = static_cast<int8_t>(std::bit_cast<int32_t>(x[i] * inverse + kMagic) - std::bit_cast<int32_t>(kMagic));
  }
  return amax / 127.0f;
}

int32_t SumOf(const int8_t* codes, int n) {
  int32_t sum = 0;
  for (int i = 0; i < n; ++i) sum += codes[i];
  return sum;
}

}  // namespace

size_t ActivationRowBytes(ActivationFormat format, int64_t elements) {
  const size_t count = static_cast<size_t>(elements);
  switch (format) {
    case ActivationFormat::kF32:
      return AlignUp(count * sizeof(float), 64);
    case ActivationFormat::kQ8Block32:
      return CeilDiv<size_t>(count, 256) * sizeof(Q8Block32x8);
    case ActivationFormat::kQ8Block256:
      return count / 256 * sizeof(Q8Block256);
  }
  SLUICE_CHECK(false);
}

uint16_t LargestGroup(const int8_t* codes) {
  int largest = 0;
  for (int g = 0; g < 16; ++g) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += std::abs(codes[16 * g + i]);
    largest = std::max(largest, sum);
  }
  return static_cast<uint16_t>(largest);
}

void CopyF32(const float* x, int64_t elements, void* out) {
  const size_t bytes = static_cast<size_t>(elements) * sizeof(float);
  std::memcpy(out, x, bytes);
  std::memset(static_cast<char*>(out) + bytes, 0, ActivationRowBytes(ActivationFormat::kF32, elements) - bytes);
}

void QuantizeQ8Block32(const float* x, int64_t elements, void* out) {
  SLUICE_DCHECK(elements % 32 == 0);
  Q8Block32x8* packs = static_cast<Q8Block32x8*>(out);
  std::memset(out, 0, ActivationRowBytes(ActivationFormat::kQ8Block32, elements));
  for (int64_t block = 0; block < elements / 32; ++block) {
    Q8Block32x8& pack = packs[block / 8];
    pack.scales[block % 8] = QuantizeValues(x + 32 * block, 32, pack.values[block % 8]);
    pack.sums[block % 8] = SumOf(pack.values[block % 8], 32);
  }
}

void QuantizeQ8Block256(const float* x, int64_t elements, void* out) {
  SLUICE_DCHECK(elements % 256 == 0);
  Q8Block256* blocks = static_cast<Q8Block256*>(out);
  for (int64_t b = 0; b < elements / 256; ++b) {
    Q8Block256& block = blocks[b];
    std::memset(&block, 0, sizeof block);
    block.scale = QuantizeValues(x + 256 * b, 256, block.values);
    for (int g = 0; g < 16; ++g) block.group_sums[g] = static_cast<int16_t>(SumOf(block.values + 16 * g, 16));
    block.largest_group = LargestGroup(block.values);
  }
}

void QuantizationRemainder(ActivationFormat format, const float* x, const void* quantized, int64_t elements,
                           float* out) {
  SLUICE_CHECK(format != ActivationFormat::kF32);
  const bool small = format == ActivationFormat::kQ8Block32;
  const Q8Block32x8* packs = static_cast<const Q8Block32x8*>(quantized);
  const Q8Block256* blocks = static_cast<const Q8Block256*>(quantized);
  for (int64_t begin = 0; begin < elements; begin += 32) {
    const int64_t block = begin / 256, part = begin / 32 % 8;
    const float scale = small ? packs[block].scales[part] : blocks[block].scale;
    const int8_t* codes = small ? packs[block].values[part] : blocks[block].values + 32 * part;
    for (int i = 0; i < 32; ++i) out[begin + i] = x[begin + i] - scale * static_cast<float>(codes[i]);
  }
}

}  // namespace sluice
