// A product with activations of twice the usual precision.
//
// The quantised row leaves a remainder; quantised in its turn and multiplied by
// the same kernels it adds what eight bits lost: W x = W q(x) + W q(x - q(x)).
// Costs two integer products, where a float product of quantised weights costs
// 15 to 40 (measured for Q4_K to Q6_K, 7168 inputs, AVX-512). For operations
// that are small and whose errors the model sharpens.
#ifndef SLUICE_SRC_MODEL_FINE_LINEAR_H_
#define SLUICE_SRC_MODEL_FINE_LINEAR_H_

#include <cstdint>

#include "base/arena.h"
#include "src/model/activation_rows.h"
#include "src/model/linear.h"

namespace sluice {

class FineLinear {
 public:
  // For inputs of `width` and matrices of at most `max_outputs` rows.
  FineLinear(Arena* arena, Linear* linear, int64_t max_rows, int64_t width, int64_t max_outputs);

  // Linear::Multiply of all rows of `in`, whose quantised forms are `forms`.
  void Multiply(const Matrix& matrix, const ActivationRows& in, const InputRows& forms, float* const* out,
                int64_t out_begin);

 private:
  void MultiplyRemainders(const Matrix& matrix, const ActivationRows& in, const InputRows& forms, int64_t row_begin,
                          int64_t rows);

  Linear* linear_;
  int64_t width_;
  int64_t block_rows_;
  int64_t max_outputs_;
  int64_t quantized_bytes_;
  float* remainders_;      // [threads][width]
  uint8_t* quantized_;     // [block_rows] activation rows
  const void** pointers_;  // to them
  float* products_;        // [block_rows][max_outputs]
  float** product_rows_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_FINE_LINEAR_H_
