#include "src/model/head_product.h"

#include <algorithm>

#include "base/check.h"

namespace sluice {

HeadProduct::HeadProduct(Arena* arena, const Linear& linear, int64_t max_rows, int64_t max_width)
    : kernels_(linear.kernels()), max_rows_(max_rows) {
  const int64_t width = static_cast<int64_t>(AlignUp(max_width, 256));
  row_bytes_ = static_cast<int64_t>(std::max(ActivationRowBytes(ActivationFormat::kQ8Block32, width),
                                             ActivationRowBytes(ActivationFormat::kQ8Block256, width)));
  const int64_t threads = linear.threads()->threads();
  quantized_ = arena->Take<uint8_t>(threads * max_rows * row_bytes_);
  pointers_ = arena->Take<const void*>(threads * max_rows);
}

void HeadProduct::Multiply(const Matrix& matrix, const float* const* inputs, float* const* outputs, int64_t rows,
                           int thread) {
  SLUICE_DCHECK(rows <= max_rows_);
  const Kernel& kernel = kernels_.For(matrix.type);
  const void** pointers = pointers_ + thread * max_rows_;
  uint8_t* scratch = quantized_ + thread * max_rows_ * row_bytes_;
  for (int64_t r = 0; r < rows; ++r, scratch += row_bytes_) {
    pointers[r] = inputs[r];
    if (kernel.format == ActivationFormat::kF32) continue;
    kernels_.quantize[static_cast<int>(kernel.format)](inputs[r], matrix.n_in, scratch);
    pointers[r] = scratch;
  }
  kernel.matmul({matrix.type, matrix.data, matrix.n_in, matrix.rows, pointers, outputs, rows});
}

}  // namespace sluice
