#include "src/model/fine_linear.h"

#include <algorithm>

#include "base/check.h"

namespace sluice {
namespace {

constexpr int64_t kRowBlock = 128;

}  // namespace

FineLinear::FineLinear(Arena* arena, Linear* linear, int64_t max_rows, int64_t width, int64_t max_outputs)
    : linear_(linear), width_(width), block_rows_(std::min(max_rows, kRowBlock)), max_outputs_(max_outputs) {
  quantized_bytes_ =
      static_cast<int64_t>(std::max(ActivationRowBytes(ActivationFormat::kQ8Block32, AlignUp(width, 256)),
                                    ActivationRowBytes(ActivationFormat::kQ8Block256, AlignUp(width, 256))));
  remainders_ = arena->Take<float>(linear->threads()->threads() * width);
  quantized_ = arena->Take<uint8_t>(block_rows_ * quantized_bytes_);
  pointers_ = arena->Take<const void*>(block_rows_);
  products_ = arena->Take<float>(block_rows_ * max_outputs);
  product_rows_ = arena->Take<float*>(block_rows_);
}

void FineLinear::Multiply(const Matrix& matrix, const ActivationRows& in, const InputRows& forms, float* const* out,
                          int64_t out_begin) {
  linear_->Multiply(matrix, forms, out, out_begin);
  if (linear_->kernels().For(matrix.type).format == ActivationFormat::kF32) return;
  SLUICE_CHECK(matrix.rows <= max_outputs_ && matrix.n_in == width_);
  for (int64_t begin = 0; begin < forms.count; begin += block_rows_) {
    const int64_t rows = std::min(block_rows_, forms.count - begin);
    MultiplyRemainders(matrix, in, forms, begin, rows);
    linear_->threads()->ParallelFor(rows, [&](int64_t r, int) {
      float* sum = out[begin + r] + out_begin;
      for (int64_t o = 0; o < matrix.rows; ++o) sum[o] += product_rows_[r][o];
    });
  }
}

void FineLinear::MultiplyRemainders(const Matrix& matrix, const ActivationRows& in, const InputRows& forms,
                                    int64_t row_begin, int64_t rows) {
  const ActivationFormat format = linear_->kernels().For(matrix.type).format;
  const void* const* quantized = forms.In(format);
  linear_->threads()->ParallelFor(rows, [&](int64_t r, int thread) {
    float* remainder = remainders_ + thread * width_;
    QuantizationRemainder(format, in.row(row_begin + r), quantized[row_begin + r], width_, remainder);
    uint8_t* row = quantized_ + r * quantized_bytes_;
    linear_->kernels().quantize[static_cast<int>(format)](remainder, width_, row);
    pointers_[r] = row;
    product_rows_[r] = products_ + r * max_outputs_;
  });
  InputRows remainders;
  remainders.count = rows;
  remainders.rows[static_cast<int>(format)] = pointers_;
  linear_->Multiply(matrix, remainders, product_rows_);
}

}  // namespace sluice
