#include "compute/ops.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "compute/exp_poly.h"

namespace sluice {

float SumLanes(const float lanes[kLanes]) {
  float s[8];
  for (int j = 0; j < 8; ++j) s[j] = lanes[j] + lanes[j + 8];
  for (int j = 0; j < 4; ++j) s[j] += s[j + 4];
  for (int j = 0; j < 2; ++j) s[j] += s[j + 2];
  return s[0] + s[1];
}

float Exp(float x) {
  const float t = std::fma(x, kExpLog2E, kExpMagic);
  const float n = t - kExpMagic;
  float r = std::fma(-n, kExpLn2Hi, x);
  r = std::fma(-n, kExpLn2Lo, r);
  float p = kExpC6;
  for (float c : {kExpC5, kExpC4, kExpC3, kExpC2, kExpC1, kExpC0}) p = std::fma(p, r, c);
  const float y = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(t) << 23));
  if (x < kExpMin) return 0.0f;
  if (x > kExpMax) return std::numeric_limits<float>::infinity();
  return std::isnan(x) ? x : y;
}

float Silu(float x) { return x / (1.0f + Exp(-x)); }

float F16ToF32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  if (magnitude < 0x0400) {  // zero or subnormal: an exact product
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
  }
  if (magnitude >= 0x7c00) {
    const uint32_t quiet = magnitude > 0x7c00 ? 0x00400000 : 0;
    return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x03ff) << 13 | quiet);
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + (uint32_t{127 - 15} << 23)));
}

uint16_t F32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7fffffff;
  uint32_t half;
  if (magnitude > 0x7f800000) {
    half = 0x7e00 | ((magnitude >> 13) & 0x01ff);
  } else if (magnitude >= 0x477ff000) {  // 65520, half-way to the next power of two, and above
    half = 0x7c00;
  } else if (magnitude < 0x38800000) {
    // Below 2^-14 halves are multiples of 2^-24. The last bit of a float in
    // [0.5, 1) is 2^-24, so adding 0.5 rounds to nearest even at that place.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
  } else {
    const uint32_t odd = (magnitude >> 13) & 1;
    half = (magnitude + 0xfff + odd - (uint32_t{127 - 15} << 23)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

float BF16ToF32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

void RmsNorm(const VectorOps& ops, const float* x, const float* weight, int64_t n, float epsilon, float* out) {
  const float mean = ops.dot(x, x, n) / static_cast<float>(n);
  const float inverse = 1.0f / std::sqrt(mean + epsilon);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

void Softmax(const VectorOps& ops, float* x, int64_t n) {
  if (n == 0) return;
  const float max = *std::max_element(x, x + n);
  const float inverse = 1.0f / ops.exp_sum(x, n, max);
  ScaleRow(inverse, x, n);
}

void Sigmoid(const VectorOps& ops, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = -x[i];
  ops.exp_sum(x, n, 0.0f);
  for (int64_t i = 0; i < n; ++i) x[i] = 1.0f / (1.0f + x[i]);
}

void ScaleRow(float factor, float* x, int64_t n) {
  if (factor == 1.0f) return;
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace sluice
