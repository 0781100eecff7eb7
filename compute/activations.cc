#include "compute/activations.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "absl/types/optional.h"
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

void RoundValues(const float* x, int n, float inverse, int8_t* codes) {
  for (int i = 0; i < n; ++i) {
    codes[i] = static_cast<int8_t>(std::bit_cast<int32_t>(x[i] * inverse + kMagic) - std::bit_cast<int32_t>(kMagic));
  }
}

// A block whose codes are all zero has its scale here, the others' is found later.
absl::optional<float> ScaleOfZeros(uint32_t largest_bits) {
  if (largest_bits >= kInfinityBits) return std::numeric_limits<float>::quiet_NaN();
  if (std::bit_cast<float>(largest_bits) < kTiny) return 0.0f;
  return absl::nullopt;
}

// Writes the n codes of a block and returns its scale.
float QuantizeValues(const float* x, int n, int8_t* codes) {
  const uint32_t bits = LargestMagnitudeBits(x, n);
  if (const absl::optional<float> scale = ScaleOfZeros(bits); scale.has_value()) {
    std::memset(codes, 0, static_cast<size_t>(n));
    return *scale;
  }
  const float amax = std::bit_cast<float>(bits);
  RoundValues(x, n, 127.0f / amax, codes);
  return amax / 127.0f;
}

// The codes and factors of a block of 256.
void QuantizeGroups(const float* x, Q8Block256* block) {
  const uint32_t bits = LargestMagnitudeBits(x, 256);
  std::fill_n(block->factors, 8, int8_t{1});
  if (const absl::optional<float> scale = ScaleOfZeros(bits); scale.has_value()) {
    block->scale = *scale;
    return;
  }
  const float amax = std::bit_cast<float>(bits);
  block->scale = amax / kFactorSteps[0];
  for (int g = 0; g < 8; ++g) {
    const float largest = std::bit_cast<float>(LargestMagnitudeBits(x + 32 * g, 32));
    const int above = (largest > amax * 0.25f) + (largest > amax * 0.5f) + (largest > amax * 0.75f);
    block->factors[g] = static_cast<int8_t>(1 + above);
    RoundValues(x + 32 * g, 32, kFactorSteps[above] / amax, block->values + 32 * g);
  }
}

int32_t SumOf(const int8_t* codes, int n) {
  int32_t sum = 0;
  for (int i = 0; i < n; ++i) sum += codes[i];
  return sum;
}

// What a block of 256 holds beside its codes, factors and scale.
void SetSums(Q8Block256* block) {
  for (int g = 0; g < 16; ++g) {
    block->group_sums[g] = static_cast<int16_t>(block->factors[g / 2] * SumOf(block->values + 16 * g, 16));
  }
  SetMagnitudes(block);
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
    case ActivationFormat::kQ8Groups256:
      return count / 256 * sizeof(Q8Block256);
  }
  SLUICE_CHECK(false);
}

void SetMagnitudes(Q8Block256* block) {
  for (int g = 0; g < 16; ++g) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += std::abs(block->values[16 * g + i]);
    block->magnitudes[g] = static_cast<uint8_t>((sum + 7) / 8);
  }
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
  std::memset(out, 0, ActivationRowBytes(ActivationFormat::kQ8Block256, elements));
  for (int64_t b = 0; b < elements / 256; ++b) {
    blocks[b].scale = QuantizeValues(x + 256 * b, 256, blocks[b].values);
    std::fill_n(blocks[b].factors, 8, int8_t{1});
    SetSums(&blocks[b]);
  }
}

void QuantizeQ8Groups256(const float* x, int64_t elements, void* out) {
  SLUICE_DCHECK(elements % 256 == 0);
  Q8Block256* blocks = static_cast<Q8Block256*>(out);
  std::memset(out, 0, ActivationRowBytes(ActivationFormat::kQ8Groups256, elements));
  for (int64_t b = 0; b < elements / 256; ++b) {
    QuantizeGroups(x + 256 * b, &blocks[b]);
    SetSums(&blocks[b]);
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
    const float scale = small ? packs[block].scales[part] : blocks[block].scale * blocks[block].factors[part];
    const int8_t* codes = small ? packs[block].values[part] : blocks[block].values + 32 * part;
    for (int i = 0; i < 32; ++i) out[begin + i] = x[begin + i] - scale * static_cast<float>(codes[i]);
  }
}

}  // namespace sluice
