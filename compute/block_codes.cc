#include "compute/block_codes.h"

#include <array>

#include "base/check.h"

namespace sluice {
namespace {

struct Row {
  TensorType type;
  bool has_minimums;
  UnpackFn unpack;
};

constexpr Row kRows[] = {
    {TensorType::kQ4_0, false, UnpackQ4_0},     {TensorType::kQ4_1, true, UnpackQ4_1},
    {TensorType::kQ5_0, false, UnpackQ5_0},     {TensorType::kQ5_1, true, UnpackQ5_1},
    {TensorType::kQ8_0, false, UnpackQ8_0},     {TensorType::kIQ4NL, false, UnpackIq4Nl},
    {TensorType::kMXFP4, false, UnpackMxfp4},   {TensorType::kQ2K, true, UnpackQ2K},
    {TensorType::kQ3K, false, UnpackQ3K},       {TensorType::kQ4K, true, UnpackQ4K},
    {TensorType::kQ5K, true, UnpackQ5K},        {TensorType::kQ6K, false, UnpackQ6K},
    {TensorType::kIQ4XS, false, UnpackIq4Xs},   {TensorType::kIQ2XXS, false, UnpackIq2Xxs},
    {TensorType::kIQ2XS, false, UnpackIq2Xs},   {TensorType::kIQ2S, false, UnpackIq2S},
    {TensorType::kIQ3XXS, false, UnpackIq3Xxs}, {TensorType::kIQ3S, false, UnpackIq3S},
    {TensorType::kIQ1S, false, UnpackIq1S},     {TensorType::kIQ1M, false, UnpackIq1M},
};

std::array<BlockFormat, kTensorTypeLimit> MakeFormats() {
  std::array<BlockFormat, kTensorTypeLimit> formats{};
  for (const Row& row : kRows) {
    const TensorTypeInfo& info = InfoOf(row.type);
    formats[static_cast<uint32_t>(row.type)] = {static_cast<int>(info.block_elements),
                                                static_cast<int>(info.block_bytes), row.has_minimums, row.unpack};
  }
  return formats;
}

}  // namespace

const BlockFormat& BlockFormatOf(TensorType type) {
  static const std::array<BlockFormat, kTensorTypeLimit> formats = MakeFormats();
  SLUICE_CHECK(static_cast<uint32_t>(type) < kTensorTypeLimit);
  return formats[static_cast<uint32_t>(type)];
}

}  // namespace sluice
