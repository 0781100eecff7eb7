#include "compute/dequantize.h"

#include <cstring>

#include "base/check.h"
#include "compute/block_codes.h"
#include "compute/load_bytes.h"

namespace sluice {
namespace {

void DequantizeBlock(const BlockFormat& format, const uint8_t* block, float* out) {
  BlockCodes codes;
  format.unpack(block, &codes);
  for (int g = 0; g < format.elements / kGroupElements; ++g) {
    const float scale = codes.unit * codes.scales[g];
    const float offset = format.has_minimums ? codes.min_unit * codes.mins[g] : 0.0f;
    for (int i = g * kGroupElements; i < (g + 1) * kGroupElements; ++i) {
      out[i] = scale * codes.codes[i];
      // Adding zero would turn a -0 into +0.
      if (format.has_minimums) out[i] += offset;
    }
  }
}

}  // namespace

void DequantizeRow(TensorType type, const void* blocks, int64_t elements, float* out) {
  const uint8_t* bytes = static_cast<const uint8_t*>(blocks);
  switch (type) {
    case TensorType::kF32:
      std::memcpy(out, bytes, static_cast<size_t>(elements) * sizeof(float));
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < elements; ++i) out[i] = LoadF16(bytes + 2 * i);
      return;
    case TensorType::kBF16:
      for (int64_t i = 0; i < elements; ++i) out[i] = BF16ToF32(LoadU16(bytes + 2 * i));
      return;
    default:
      break;
  }
  const BlockFormat& format = BlockFormatOf(type);
  SLUICE_CHECK(format.unpack != nullptr);
  SLUICE_DCHECK(elements % format.elements == 0);
  for (int64_t b = 0; b < elements / format.elements; ++b) {
    DequantizeBlock(format, bytes + b * format.bytes, out + b * format.elements);
  }
}

}  // namespace sluice
