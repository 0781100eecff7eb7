#include "base/tensor_type.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "base/checked_math.h"

namespace sluice {
namespace {

TEST_CASE("each type is found by its number and by its name, and nothing else is") {
  int found = 0;
  std::set<std::string> names;
  for (uint32_t number = 0; number < 1000; ++number) {
    const TensorTypeInfo* info = FindTensorType(number);
    if (info == nullptr) continue;
    ++found;
    CHECK(number < kTensorTypeLimit);
    CHECK(static_cast<uint32_t>(info->type) == number);
    CHECK(FindTensorType(info->name) == info);
    CHECK(&InfoOf(info->type) == info);
    CHECK(names.insert(std::string(info->name)).second);
    CHECK((info->block_elements == 1 || info->block_elements == 32 || info->block_elements == 256));
  }
  CHECK(found == 28);
  for (uint32_t retired : {4u, 5u, 9u, 15u, 31u, 38u, 40u, 0xffffffffu}) CHECK(FindTensorType(retired) == nullptr);
  for (const char* name : {"", "q4_k", "Q4_K", "f33", "mxfp4 "}) CHECK(FindTensorType(name) == nullptr);
}

TEST_CASE("rows take the bytes of their blocks") {
  CHECK(RowBytes(TensorType::kF32, 7) == 28);
  CHECK(RowBytes(TensorType::kBF16, 7) == 14);
  CHECK(RowBytes(TensorType::kQ8_0, 64) == 68);
  CHECK(RowBytes(TensorType::kQ4K, 7168) == 7168 / 256 * 144);
  CHECK(RowBytes(TensorType::kMXFP4, 2880) == 2880 / 32 * 17);
  CHECK(RowBytes(TensorType::kIQ1S, 256) == 50);
}

TEST_CASE("integers are no weights") {
  for (TensorType type : {TensorType::kI8, TensorType::kI16, TensorType::kI32, TensorType::kI64, TensorType::kF64}) {
    CHECK_FALSE(InfoOf(type).is_weight);
  }
  int weights = 0;
  for (uint32_t number = 0; number < kTensorTypeLimit; ++number) {
    weights += FindTensorType(number) != nullptr && FindTensorType(number)->is_weight;
  }
  CHECK(weights == 23);
}

TEST_CASE("arithmetic on sizes tells or saturates where it would wrap") {
  constexpr uint64_t kMost = ~uint64_t{0};
  uint64_t result = 0;
  CHECK((CheckedMul(1u << 31, 1u << 31, &result) && result == uint64_t{1} << 62));
  CHECK_FALSE(CheckedMul(uint64_t{1} << 32, uint64_t{1} << 32, &result));
  CHECK((CheckedAdd(kMost - 1, 1, &result) && result == kMost));
  CHECK_FALSE(CheckedAdd(kMost, 1, &result));
  CHECK(SaturatingMul(uint64_t{1} << 40, uint64_t{1} << 40) == kMost);
  CHECK(SaturatingMul(0, kMost) == 0);
  CHECK(SaturatingMul(3, 5) == 15);
  CHECK(SaturatingAdd(kMost, 1) == kMost);
  CHECK(SaturatingAdd(3, 5) == 8);
}

}  // namespace
}  // namespace sluice
