// A kernel set: all the arithmetic of the forward pass for one instruction set.
//
// Chosen once at start (or forced by an option) and passed down; there is no
// other dispatch. Canonical arithmetic, which every set obeys:
//   - integer types: the products of one scale unit (a block, or a super-block
//     with its integer sub-scales) are summed exactly in integers and enter the
//     float sum by explicit fma, units in ascending order, one chain per output
//     (a second chain for the minimums of types that have them, added last).
//     The same bits in every set and for every number of rows and threads.
//   - float types: sixteen chains, element i into chain i mod 16 by fma in
//     ascending order, then the fixed tree of SumLanes (compute/ops.h). Rows
//     that are no multiple of sixteen are as if padded with zeros.
// No allocation, no lock, no global state; all functions may run on any thread.
#ifndef SLUICE_COMPUTE_KERNEL_SET_H_
#define SLUICE_COMPUTE_KERNEL_SET_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor_type.h"
#include "compute/activations.h"

namespace sluice {

// outputs[r][o] = sum_i W[o][i] * x[r][i] for o in [0, n_out), r in [0, n_rows).
struct MatMulArgs {
  TensorType type;
  const void* weights;  // n_out rows of RowBytes(type, n_in), packed, any alignment
  int64_t n_in;         // multiple of the type's block
  int64_t n_out;
  const void* const* activations;  // n_rows pointers to rows in the kernel's format
  float* const* outputs;           // n_rows pointers to n_out floats
  int64_t n_rows;
};

using MatMulFn = void (*)(const MatMulArgs& args);
using QuantizeFn = void (*)(const float* x, int64_t elements, void* out);

struct Kernel {
  ActivationFormat format = ActivationFormat::kF32;
  MatMulFn matmul = nullptr;
};

// Vector operations on float32 rows; see compute/ops.h for what each computes.
struct VectorOps {
  float (*dot)(const float* a, const float* b, int64_t n);
  // y[i] = fma(scale, x[i], y[i])
  void (*axpy)(float scale, const float* x, float* y, int64_t n);
  void (*f16_to_f32)(const uint16_t* in, float* out, int64_t n);
  void (*f32_to_f16)(const float* in, uint16_t* out, int64_t n);  // round to nearest even
  // out[i] = silu(gate[i]) * up[i]
  void (*swiglu)(const float* gate, const float* up, float* out, int64_t n);
  // In place: x[i] = exp(x[i] - max); returns the sum in the sixteen-chain order.
  float (*exp_sum)(float* x, int64_t n, float max);
};

struct KernelSet {
  absl::string_view name;  // "portable", "avx2", "avx512"; "float" for the reference path
  Kernel kernels[kTensorTypeLimit];
  QuantizeFn quantize[kActivationFormats];  // kF32 copies
  VectorOps ops;

  const Kernel& For(TensorType type) const { return kernels[static_cast<uint32_t>(type)]; }
};

// The sets compiled in that this CPU can run, best first; "portable" is last.
absl::Span<const KernelSet* const> AvailableKernelSets();

// The best set for --compute fast.
const KernelSet& BestKernelSet();

// By name; null when unknown or when this CPU lacks the instructions.
const KernelSet* FindKernelSet(absl::string_view name);

// --compute float: weights are dequantised row by row, activations stay float32.
// Uses the vector operations of the best set; same bits with any of them.
const KernelSet& FloatKernelSet();

}  // namespace sluice

#endif  // SLUICE_COMPUTE_KERNEL_SET_H_
