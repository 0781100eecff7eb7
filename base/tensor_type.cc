#include "base/tensor_type.h"

#include <array>

#include "base/check.h"

namespace sluice {
namespace {

constexpr std::array<TensorTypeInfo, 28> kTypes = {{
    {TensorType::kF32, "f32", 1, 4, true},
    {TensorType::kF16, "f16", 1, 2, true},
    {TensorType::kQ4_0, "q4_0", 32, 18, true},
    {TensorType::kQ4_1, "q4_1", 32, 20, true},
    {TensorType::kQ5_0, "q5_0", 32, 22, true},
    {TensorType::kQ5_1, "q5_1", 32, 24, true},
    {TensorType::kQ8_0, "q8_0", 32, 34, true},
    {TensorType::kQ2K, "q2_K", 256, 84, true},
    {TensorType::kQ3K, "q3_K", 256, 110, true},
    {TensorType::kQ4K, "q4_K", 256, 144, true},
    {TensorType::kQ5K, "q5_K", 256, 176, true},
    {TensorType::kQ6K, "q6_K", 256, 210, true},
    {TensorType::kIQ2XXS, "iq2_xxs", 256, 66, true},
    {TensorType::kIQ2XS, "iq2_xs", 256, 74, true},
    {TensorType::kIQ3XXS, "iq3_xxs", 256, 98, true},
    {TensorType::kIQ1S, "iq1_s", 256, 50, true},
    {TensorType::kIQ4NL, "iq4_nl", 32, 18, true},
    {TensorType::kIQ3S, "iq3_s", 256, 110, true},
    {TensorType::kIQ2S, "iq2_s", 256, 82, true},
    {TensorType::kIQ4XS, "iq4_xs", 256, 136, true},
    {TensorType::kI8, "i8", 1, 1, false},
    {TensorType::kI16, "i16", 1, 2, false},
    {TensorType::kI32, "i32", 1, 4, false},
    {TensorType::kI64, "i64", 1, 8, false},
    {TensorType::kF64, "f64", 1, 8, false},
    {TensorType::kIQ1M, "iq1_m", 256, 56, true},
    {TensorType::kBF16, "bf16", 1, 2, true},
    {TensorType::kMXFP4, "mxfp4", 32, 17, true},
}};

}  // namespace

const TensorTypeInfo* FindTensorType(uint32_t number) {
  for (const TensorTypeInfo& info : kTypes) {
    if (static_cast<uint32_t>(info.type) == number) return &info;
  }
  return nullptr;
}

const TensorTypeInfo* FindTensorType(absl::string_view name) {
  for (const TensorTypeInfo& info : kTypes) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

const TensorTypeInfo& InfoOf(TensorType type) {
  const TensorTypeInfo* info = FindTensorType(static_cast<uint32_t>(type));
  SLUICE_CHECK(info != nullptr);
  return *info;
}

}  // namespace sluice
