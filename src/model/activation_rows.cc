#include "src/model/activation_rows.h"

#include "base/check.h"

namespace sluice {
namespace {

constexpr int64_t kBlock[kActivationFormats] = {1, 32, 256, 256};

}  // namespace

ActivationRows::ActivationRows(Arena* arena, int64_t max_rows, int64_t width, const FormatSet& formats)
    : max_rows_(max_rows), width_(width), stride_(AlignUp(width, 16)), formats_(formats) {
  values_ = arena->Take<float>(max_rows * stride_);
  float_rows_ = arena->Take<float*>(max_rows);
  for (int f = 0; f < kActivationFormats; ++f) {
    if (!formats_.has[f]) continue;
    pointers_[f] = arena->Take<const void*>(max_rows);
    if (f == static_cast<int>(ActivationFormat::kF32)) continue;
    quantized_[f] =
        arena->Take<uint8_t>(max_rows * ActivationRowBytes(static_cast<ActivationFormat>(f), AlignUp(width, 256)));
  }
}

void ActivationRows::Refill(int64_t count, int64_t width) {
  SLUICE_CHECK(count <= max_rows_ && width <= width_);
  count_ = count;
  used_width_ = width;
  stale_ = true;
  for (int64_t r = 0; r < count; ++r) float_rows_[r] = row(r);
}

InputRows ActivationRows::Quantize(const KernelSet& kernels, ThreadPool* threads) {
  InputRows inputs;
  inputs.count = count_;
  for (int f = 0; f < kActivationFormats; ++f) inputs.rows[f] = used_width_ % kBlock[f] == 0 ? pointers_[f] : nullptr;
  if (!stale_) return inputs;
  threads->ParallelFor(count_, [&](int64_t r, int) {
    for (int f = 0; f < kActivationFormats; ++f) {
      if (inputs.rows[f] == nullptr) continue;
      pointers_[f][r] = row(r);
      if (quantized_[f] == nullptr) continue;
      uint8_t* out = quantized_[f] + r * ActivationRowBytes(static_cast<ActivationFormat>(f), used_width_);
      kernels.quantize[f](row(r), used_width_, out);
      pointers_[f][r] = out;
    }
  });
  stale_ = false;
  return inputs;
}

}  // namespace sluice
