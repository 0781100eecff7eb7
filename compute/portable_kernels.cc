#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "compute/block_codes.h"
#include "compute/float_matmul.h"
#include "compute/ops.h"
#include "compute/portable.h"

namespace sluice::portable {
namespace {

// Rows of activations that share one unpacking of a weight block.
constexpr int64_t kTileRows = 64;

// A weight block ready for products: sub-scales are multiplied into the codes,
// which is exact and fits int16, and so changes no integer sum.
struct ScaledBlock {
  float unit;
  float min_unit;
  int32_t mins[16];
  int16_t codes[256];
};

void UnpackScaled(const BlockFormat& format, const uint8_t* bytes, ScaledBlock* out) {
  BlockCodes block;
  format.unpack(bytes, &block);
  out->unit = block.unit;
  for (int g = 0; g < format.elements / kGroupElements; ++g) {
    for (int i = g * kGroupElements; i < (g + 1) * kGroupElements; ++i) {
      out->codes[i] = static_cast<int16_t>(block.scales[g] * block.codes[i]);
    }
  }
  if (!format.has_minimums) return;
  out->min_unit = block.min_unit;
  std::copy_n(block.mins, format.elements / kGroupElements, out->mins);
}

int32_t DotOf32(const int16_t* weights, const int8_t* activations) {
  int32_t sum = 0;
  for (int i = 0; i < 32; ++i) sum += weights[i] * activations[i];
  return sum;
}

struct Blocks32 {
  static constexpr int kElements = 32;

  static float ScaleAt(const void* row, int64_t b) { return static_cast<const Q8Block32x8*>(row)[b / 8].scales[b % 8]; }
  static int32_t MainSum(const ScaledBlock& weights, const void* row, int64_t b) {
    return DotOf32(weights.codes, static_cast<const Q8Block32x8*>(row)[b / 8].values[b % 8]);
  }
  // The minimum of a block of 32 has no integer sub-scale.
  static int32_t MinimumSum(const ScaledBlock&, const void* row, int64_t b) {
    return static_cast<const Q8Block32x8*>(row)[b / 8].sums[b % 8];
  }
};

struct Blocks256 {
  static constexpr int kElements = 256;

  static float ScaleAt(const void* row, int64_t b) { return static_cast<const Q8Block256*>(row)[b].scale; }
  static int32_t MainSum(const ScaledBlock& weights, const void* row, int64_t b) {
    const Q8Block256& block = static_cast<const Q8Block256*>(row)[b];
    int32_t sum = 0;
    for (int g = 0; g < 8; ++g) sum += block.factors[g] * DotOf32(weights.codes + 32 * g, block.values + 32 * g);
    return sum;
  }
  static int32_t MinimumSum(const ScaledBlock& weights, const void* row, int64_t b) {
    const Q8Block256& block = static_cast<const Q8Block256*>(row)[b];
    int32_t sum = 0;
    for (int g = 0; g < 16; ++g) sum += weights.mins[g] * block.group_sums[g];
    return sum;
  }
};

// One output for up to kTileRows rows: blocks in ascending order, every row's
// chains continued by each.
template <typename Blocks>
void TileOutput(const BlockFormat& format, const MatMulArgs& args, int64_t output, int64_t first_row, int64_t rows) {
  float main[kTileRows] = {};
  float minimum[kTileRows] = {};
  const int64_t blocks = args.n_in / Blocks::kElements;
  const uint8_t* bytes = static_cast<const uint8_t*>(args.weights) + output * blocks * format.bytes;
  ScaledBlock weights;
  for (int64_t b = 0; b < blocks; ++b) {
    UnpackScaled(format, bytes + b * format.bytes, &weights);
    for (int64_t r = 0; r < rows; ++r) {
      const void* row = args.activations[first_row + r];
      const float scale = Blocks::ScaleAt(row, b);
      const int32_t sum = Blocks::MainSum(weights, row, b);
      main[r] = std::fma(weights.unit * scale, static_cast<float>(sum), main[r]);
      if (!format.has_minimums) continue;
      const int32_t minimum_sum = Blocks::MinimumSum(weights, row, b);
      minimum[r] = std::fma(weights.min_unit * scale, static_cast<float>(minimum_sum), minimum[r]);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    args.outputs[first_row + r][output] = format.has_minimums ? main[r] + minimum[r] : main[r];
  }
}

template <typename Blocks>
void MatMulBlocks(const BlockFormat& format, const MatMulArgs& args) {
  SLUICE_DCHECK(args.n_in % Blocks::kElements == 0);
  for (int64_t first = 0; first < args.n_rows; first += kTileRows) {
    const int64_t rows = std::min(kTileRows, args.n_rows - first);
    for (int64_t o = 0; o < args.n_out; ++o) TileOutput<Blocks>(format, args, o, first, rows);
  }
}

ActivationFormat FormatOf(TensorType type) {
  if (type == TensorType::kQ4K || type == TensorType::kQ5K || type == TensorType::kQ6K) {
    return ActivationFormat::kQ8Groups256;
  }
  switch (InfoOf(type).block_elements) {
    case 1:
      return ActivationFormat::kF32;
    case 32:
      return ActivationFormat::kQ8Block32;
    default:
      return ActivationFormat::kQ8Block256;
  }
}

}  // namespace

void IntegerMatMul(const MatMulArgs& args) {
  const BlockFormat& format = BlockFormatOf(args.type);
  SLUICE_CHECK(format.unpack != nullptr);
  if (format.elements == Blocks32::kElements) {
    MatMulBlocks<Blocks32>(format, args);
  } else {
    MatMulBlocks<Blocks256>(format, args);
  }
}

void FloatMatMul(const MatMulArgs& args) { MatMulInFloat(args, DotLanes); }

void Fill(KernelSet* set) {
  set->name = "portable";
  for (uint32_t number = 0; number < kTensorTypeLimit; ++number) {
    const TensorTypeInfo* info = FindTensorType(number);
    if (info == nullptr || !info->is_weight) continue;
    const ActivationFormat format = FormatOf(info->type);
    set->kernels[number] = {format, format == ActivationFormat::kF32 ? FloatMatMul : IntegerMatMul};
  }
  set->quantize[static_cast<int>(ActivationFormat::kF32)] = CopyF32;
  set->quantize[static_cast<int>(ActivationFormat::kQ8Block32)] = QuantizeQ8Block32;
  set->quantize[static_cast<int>(ActivationFormat::kQ8Block256)] = QuantizeQ8Block256;
  set->quantize[static_cast<int>(ActivationFormat::kQ8Groups256)] = QuantizeQ8Groups256;
  set->ops = Ops();
  set->attention = {AddProduct, SoftmaxStep};
}

}  // namespace sluice::portable
