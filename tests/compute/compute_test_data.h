// What the compute tests share: the list of weight types, reproducible blocks
// and activations, comparison by bits.
#ifndef SLUICE_TESTS_COMPUTE_COMPUTE_TEST_DATA_H_
#define SLUICE_TESTS_COMPUTE_COMPUTE_TEST_DATA_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/tensor_type.h"
#include "compute/activations.h"
#include "compute/kernel_set.h"
#include "compute/ops.h"
#include "tests/test_data.h"

namespace sluice {

inline constexpr size_t kWeightTypes = 23;

inline std::vector<TensorType> WeightTypes() {
  std::vector<TensorType> types;
  for (uint32_t number = 0; number < kTensorTypeLimit; ++number) {
    const TensorTypeInfo* info = FindTensorType(number);
    if (info != nullptr && info->is_weight) types.push_back(info->type);
  }
  return types;
}

// Equal bits; any NaN equals any NaN.
inline bool SameBits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

// Index of the first difference, or -1.
inline int64_t FirstDifference(const float* a, const float* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (!SameBits(a[i], b[i])) return i;
  }
  return -1;
}

inline std::vector<float> ReadFloats(const std::string& relative) {
  const std::string bytes = ReadFileToString(SharedPath(relative));
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

inline std::vector<float> RandomFloats(int64_t n, uint32_t seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

// Where the f16 fields of a block lie; -1 for none.
struct HalfFields {
  int first = -1;
  int second = -1;
};

inline HalfFields HalfFieldsOf(TensorType type) {
  switch (type) {
    case TensorType::kF32:
    case TensorType::kBF16:
    case TensorType::kMXFP4:
    case TensorType::kIQ1M:
      return {};
    case TensorType::kQ4_1:
    case TensorType::kQ5_1:
    case TensorType::kQ4K:
    case TensorType::kQ5K:
      return {0, 2};
    case TensorType::kQ2K:
      return {80, 82};
    case TensorType::kQ3K:
      return {108, -1};
    case TensorType::kQ6K:
      return {208, -1};
    default:
      return {0, -1};
  }
}

// Random codes and sub-scales under scales of ordinary size, both signs.
inline void TameScales(TensorType type, uint8_t* block, std::mt19937* random) {
  std::normal_distribution<float> normal(0.0f, 0.01f);
  const auto put = [&](int offset) {
    if (offset < 0) return;
    const uint16_t half = F32ToF16(normal(*random));
    std::memcpy(block + offset, &half, 2);
  };
  put(HalfFieldsOf(type).first);
  put(HalfFieldsOf(type).second);
  if (type == TensorType::kMXFP4) block[0] = static_cast<uint8_t>(118 + (*random)() % 8);
  if (type == TensorType::kBF16) block[1] = static_cast<uint8_t>((block[1] & 0x80) | 0x3b);
  if (type == TensorType::kIQ1M) block[55] = static_cast<uint8_t>((block[55] & 0x8f) | 0x20);
  if (type == TensorType::kF32) {
    const float value = normal(*random);
    std::memcpy(block, &value, 4);
  }
}

// Whole rows of random bytes. With `tame` unset scales are random bits as well:
// subnormal, huge, infinite, NaN.
inline std::vector<uint8_t> RandomRows(TensorType type, int64_t n_in, int64_t n_out, uint32_t seed, bool tame = true) {
  const TensorTypeInfo& info = InfoOf(type);
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(RowBytes(type, static_cast<uint64_t>(n_in)) * static_cast<uint64_t>(n_out));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  if (tame) {
    for (size_t at = 0; at < bytes.size(); at += info.block_bytes) TameScales(type, bytes.data() + at, &random);
  }
  return bytes;
}

// A cache-line-aligned row of activations.
class ActivationRow {
 public:
  ActivationRow(ActivationFormat format, int64_t elements)
      : bytes_(ActivationRowBytes(format, elements)), lines_(bytes_ / sizeof(Line)) {}

  void* data() { return lines_.data(); }
  const void* data() const { return lines_.data(); }
  size_t size() const { return bytes_; }

 private:
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  size_t bytes_;
  std::vector<Line> lines_;
};

inline ActivationRow Quantized(ActivationFormat format, const std::vector<float>& x) {
  ActivationRow row(format, static_cast<int64_t>(x.size()));
  const KernelSet& portable = *FindKernelSet("portable");
  portable.quantize[static_cast<int>(format)](x.data(), static_cast<int64_t>(x.size()), row.data());
  return row;
}

}  // namespace sluice

#endif  // SLUICE_TESTS_COMPUTE_COMPUTE_TEST_DATA_H_
