#include "src/synth/tensor_fill.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "src/synth/random_blocks.h"
#include "src/synth/skewed_rows.h"

namespace sluice {
namespace {

// Large enough to be worth a thread's while.
constexpr uint64_t kUnitBytes = 1 << 20;
// Biases as large as what they are added to would be, a tenth of it.
constexpr double kSmallRms = 0.1;

TensorFill Constant(float value) {
  return {kUnitBytes, [value](uint64_t, absl::Span<uint8_t> bytes) {
            for (size_t at = 0; at < bytes.size(); at += sizeof(value)) {
              std::memcpy(bytes.data() + at, &value, sizeof(value));
            }
          }};
}

TensorFill Random(uint64_t seed, std::string stream, TensorType type, double rms) {
  const uint64_t block_bytes = InfoOf(type).block_bytes;
  return {kUnitBytes / block_bytes * block_bytes,
          [seed, stream = std::move(stream), blocks = RandomBlocks(type, rms)](
              uint64_t unit, absl::Span<uint8_t> bytes) { blocks.Fill(StreamSeed(seed, stream, unit), bytes); }};
}

// Units of as many rows as make a unit, at least one.
TensorFill Rows(uint64_t row_bytes, std::function<void(int64_t row, absl::Span<uint8_t> bytes)> fill_row) {
  const uint64_t rows = std::max<uint64_t>(1, kUnitBytes / row_bytes);
  return {rows * row_bytes,
          [rows, row_bytes, fill_row = std::move(fill_row)](uint64_t unit, absl::Span<uint8_t> bytes) {
            for (uint64_t at = 0; at < bytes.size(); at += row_bytes) {
              fill_row(static_cast<int64_t>(unit * rows + at / row_bytes), bytes.subspan(at, row_bytes));
            }
          }};
}

TensorFill SkewedFill(const SynthModel& model, const GgufTensor& tensor, const SynthTensor& plan) {
  // The router's own type says nothing about the embedding's.
  const auto rows = std::make_shared<const SkewedRows>(model, model.tensors[0].type);
  const uint64_t row_bytes = RowBytes(tensor.type, tensor.dims[0]);
  if (plan.fill == SynthFill::kEmbedding) {
    return Rows(row_bytes, [rows](int64_t token, absl::Span<uint8_t> row) { rows->FillEmbedding(token, row); });
  }
  if (plan.fill == SynthFill::kHead) {
    return Rows(row_bytes, [rows](int64_t token, absl::Span<uint8_t> row) { rows->FillHead(token, row); });
  }
  return Rows(row_bytes, [rows, layer = plan.layer, preferences = rows->PreferencesOf(plan.layer)](
                             int64_t expert, absl::Span<uint8_t> row) {
    rows->FillRouter(layer, expert, preferences[static_cast<size_t>(expert)], row);
  });
}

}  // namespace

TensorFill FillOf(const SynthModel& model, size_t index) {
  const GgufTensor& tensor = model.tensors[index];
  const SynthTensor& plan = model.fills[index];
  switch (plan.fill) {
    case SynthFill::kOnes:
      return Constant(1.0f);
    case SynthFill::kZeros:
      return Constant(0.0f);
    case SynthFill::kSmall:
      return Random(model.seed, plan.stream, tensor.type, kSmallRms);
    case SynthFill::kMatrix:
      return Random(model.seed, plan.stream, tensor.type, plan.gain / std::sqrt(static_cast<double>(tensor.dims[0])));
    case SynthFill::kEmbedding:
    case SynthFill::kHead:
    case SynthFill::kRouter:
      return SkewedFill(model, tensor, plan);
  }
  return {};
}

}  // namespace sluice
