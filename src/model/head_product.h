// Products of one head's small matrices on one thread, quantisation included.
#ifndef SLUICE_SRC_MODEL_HEAD_PRODUCT_H_
#define SLUICE_SRC_MODEL_HEAD_PRODUCT_H_

#include <cstdint>

#include "base/arena.h"
#include "src/model/linear.h"

namespace sluice {

class HeadProduct {
 public:
  // For at most `max_rows` rows of at most `max_width` floats at a time, by each thread of `linear`.
  HeadProduct(Arena* arena, const Linear& linear, int64_t max_rows, int64_t max_width);

  // outputs[r][o] for each row of `inputs` and each row o of `matrix`, by the
  // calling thread alone, which has number `thread`.
  void Multiply(const Matrix& matrix, const float* const* inputs, float* const* outputs, int64_t rows, int thread);

 private:
  const KernelSet& kernels_;
  int64_t max_rows_;
  int64_t row_bytes_;
  uint8_t* quantized_;     // [threads][max_rows]
  const void** pointers_;  // [threads][max_rows]
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_HEAD_PRODUCT_H_
