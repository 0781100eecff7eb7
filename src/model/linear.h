// Products of resident weights with rows, shared out over the threads.
//
// Outputs are cut into chunks of a size fixed by the weights alone, so bits do
// not depend on the number of threads. Holds scratch for the fused gate and up.
#ifndef SLUICE_SRC_MODEL_LINEAR_H_
#define SLUICE_SRC_MODEL_LINEAR_H_

#include <cstdint>

#include "base/arena.h"
#include "base/thread_pool.h"
#include "compute/kernel_set.h"
#include "src/model/activation_rows.h"

namespace sluice {

// Resident rows of a weight matrix.
struct Matrix {
  TensorType type = TensorType::kF32;
  const uint8_t* data = nullptr;
  int64_t n_in = 0;
  int64_t rows = 0;
  bool interleaved = false;  // panel by panel: compute/interleave.h
};

class Linear {
 public:
  Linear(Arena* arena, const KernelSet* kernels, ThreadPool* threads);

  // out[r][out_begin + o] for each row of `in` and each row o of `matrix`.
  void Multiply(const Matrix& matrix, const InputRows& in, float* const* out, int64_t out_begin = 0);
  // The same with another kernel set (the router is computed in float).
  void MultiplyWith(const KernelSet& kernels, const Matrix& matrix, const InputRows& in, float* const* out,
                    int64_t out_begin);
  // hidden[r][out_begin + o] = silu(gate . x) * (up . x); the matrices have equal shapes.
  void GateUp(const Matrix& gate, const Matrix& up, const InputRows& in, float* const* hidden, int64_t out_begin);

  // Whether products would be faster with this matrix, as filed, interleaved; whose memory nobody else reads then.
  bool GainsByInterleaving(const Matrix& matrix) const;
  // Interleaves such a matrix, whose data is `data`, with all threads.
  void Interleave(const Matrix& matrix, uint8_t* data);

  const KernelSet& kernels() const { return *kernels_; }
  ThreadPool* threads() const { return threads_; }

 private:
  const KernelSet* kernels_;
  ThreadPool* threads_;
  float* up_scratch_;  // [threads][kRowBlock][kMaxChunk]; a panel of each thread while it is interleaved
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_LINEAR_H_
