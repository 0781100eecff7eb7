// A kernel set: all the arithmetic of the forward pass for one instruction set.
//
// Chosen once at start (or forced by an option) and passed down; there is no
// other dispatch. Canonical arithmetic, which every set obeys, so that the bits
// are the same in every set and for every number of rows and threads:
//
// Integer types. `a` are activation codes, d_a their scale, q weight codes as
// decoded below. The products of one unit (a block, or a super-block with its
// integer sub-scales) are summed exactly in int32 and enter the float sum by
// one explicit fma, units in ascending order, one main chain per output that
// starts at +0:
//     main = fma(u * d_a, float(isum), main)
// where u * d_a is one rounded float32 product and float() rounds to nearest
// even. Types with minimums have a second chain, also from +0,
//     minimum = fma(v * d_a, float(msum), minimum)
// and their result is main + minimum; the others' result is main.
//
//   type             activations  u          isum = sum over the unit of    v       msum
//   q4_0             kQ8Block32   d          (q - 8) * a
//   q5_0             kQ8Block32   d          (q - 16) * a
//   q8_0             kQ8Block32   d          q * a
//   iq4_nl           kQ8Block32   d          table[q] * a
//   mxfp4            kQ8Block32   2^(e-128)  table[q] * a
//   q4_1 q5_1        kQ8Block32   d          q * a                          m       sum a
//   q2_K             kQ8Block256  d          sc * q * a                     -dmin   sum mn * a
//   q4_K q5_K        kQ8Groups256 d          sc * q * f * a                 -dmin   sum mn * f * a
//   q3_K             kQ8Block256  d          scale * q * a, both signed
//   q6_K             kQ8Groups256 d          scale * q * f * a, both signed
//   iq4_xs           kQ8Block256  d          (ls - 32) * table[q] * a
//   iq2_xxs _xs _s   kQ8Block256  d * 0.125  (2 * scale + 1) * +-grid * a
//   iq3_xxs          kQ8Block256  d * 0.25   (2 * scale + 1) * +-grid * a
//   iq3_s            kQ8Block256  d          (2 * scale + 1) * +-grid * a
//   iq1_s iq1_m      kQ8Block256  d * 0.125  (2 * scale + 1) * (8 * grid +- 1) * a
//
// Names are those of docs/formats.md; d, m, dmin are f16 fields widened, and
// the products with 0.125 and 0.25 are exact; f is the factor of 32 activations, 1
// to 4. With |a| <= 127 no sum leaves int32 for any contents of a block: the largest
// is q6_K, 256 * 127 * 128 * 32 * 4 = 5.4e8, then iq4_xs, 256 * 127 * 32 * 127 = 1.3e8.
//
// Float types (f32, f16, bf16; every type in the "float" set). Weights are
// widened (decoded) exactly as DequantizeRow does; sixteen chains from +0,
// element i into chain i mod 16 by fma in ascending order, then the fixed tree
// of SumLanes (compute/ops.h). Rows that are no multiple of sixteen are as if
// padded with +0 on both sides: the padding is multiplied too.
//
// Which NaN comes out of a NaN or of inf - inf is not part of the contract;
// that it is a NaN is.
//
// No allocation, no lock, no global state; all functions may run on any thread.
#ifndef SLUICE_COMPUTE_KERNEL_SET_H_
#define SLUICE_COMPUTE_KERNEL_SET_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor_type.h"
#include "compute/activations.h"

namespace sluice {

// Raised whenever the bits of any result change: files that carry state from one
// run to another (sessions, journals, spilled keys and values) name it.
inline constexpr int kNumericsVersion = 2;

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
  // The same of weights whose panels InterleavePanel() made, with n_out a multiple of kInterleavedRows: same bits,
  // faster. Null where there is nothing to gain.
  MatMulFn matmul_interleaved = nullptr;
};

// out[r][c] = element c of row r as float32; out is packed. Rows of `in` lie
// stride_bytes apart, at any alignment.
struct WidenRowsArgs {
  const uint8_t* in;
  int64_t stride_bytes;
  int64_t rows, columns;
  float* out;
};

// Vector operations on float32 rows; see compute/ops.h for what each computes.
struct VectorOps {
  // Sixteen chains from +0, then SumLanes: dot_lanes on zeroed lanes.
  float (*dot)(const float* a, const float* b, int64_t n);
  // Continues sixteen chains: lanes[i % 16] = fma(a[i], b[i], lanes[i % 16]) in
  // ascending i. When n is no multiple of 16 the lanes after the tail take
  // fma(+0, +0, lane), so only the last piece of a row may have such a length.
  void (*dot_lanes)(const float* a, const float* b, int64_t n, float lanes[16]);
  // y[i] = fma(scale, x[i], y[i])
  void (*axpy)(float scale, const float* x, float* y, int64_t n);
  void (*widen_f16)(const WidenRowsArgs& args);
  // Blocks of 32 codes behind their float16 scale, a short last one where the row
  // ends in it: scale * code, rounded once.
  void (*widen_q8)(const WidenRowsArgs& args);
  void (*f32_to_f16)(const float* in, uint16_t* out, int64_t n);  // round to nearest even
  // out[i] = Silu(gate[i]) * up[i], that is (gate / (1 + Exp(-gate))) * up; out may be gate or up.
  void (*swiglu)(const float* gate, const float* up, float* out, int64_t n);
  // In place: x[i] = Exp(x[i] - max); returns the sum: lanes[i % 16] += x[i]
  // from +0 in ascending i, then SumLanes.
  float (*exp_sum)(float* x, int64_t n, float max);
};

// out[r][c] = fma(a[r][k], b[k][c], out[r][c]) for ascending k: one chain per
// output, whatever the shape. Element a[r][k] stands at a + r * a_row + k * a_depth,
// so `a` may be taken transposed; b and out are row-major with their strides.
struct AddProductArgs {
  const float* a;
  int64_t a_row;
  int64_t a_depth;
  const float* b;
  int64_t b_stride;
  float* out;
  int64_t out_stride;
  int64_t rows, depth, columns;
};

// One step of a running softmax of independent columns, over a block of keys:
//   new max = max(maxima[c], scores[0][c], ...), taken in ascending order by a < b ? b : a
//   corrections[c] = Exp(maxima[c] - new max)
//   scores[k][c] = Exp(scores[k][c] - new max)
//   sums[c] = sums[c] * corrections[c], then += scores[k][c] in ascending k
//   maxima[c] = new max
// A first step starts from maxima of -infinity and sums of 0. A key that a column
// does not see has a score of -infinity; each column must see one in its first step.
struct SoftmaxStepArgs {
  float* scores;  // [keys][columns]
  int64_t stride;
  int64_t keys, columns;
  float* maxima;
  float* sums;
  float* corrections;
};

// What attention is made of; see compute/simd_attention.h.
struct AttentionOps {
  void (*add_product)(const AddProductArgs& args);
  void (*softmax_step)(const SoftmaxStepArgs& args);
};

struct KernelSet {
  absl::string_view name;  // as in FillAvx512 and its like; "float" for the reference path
  Kernel kernels[kTensorTypeLimit];
  QuantizeFn quantize[kActivationFormats];  // by format; the one of kF32 copies
  VectorOps ops;
  AttentionOps attention;

  const Kernel& For(TensorType type) const { return kernels[static_cast<uint32_t>(type)]; }
};

// The sets compiled in that this CPU can run, best first; "portable" is last.
absl::Span<const KernelSet* const> AvailableKernelSets();

// The best set for --compute fast.
const KernelSet& BestKernelSet();

// By name, "float" included; null when unknown or when this CPU lacks the
// instructions.
const KernelSet* FindKernelSet(absl::string_view name);

// --compute float: weights are dequantised row by row, activations stay float32.
// Uses the vector operations of the best set; same bits with any of them.
const KernelSet& FloatKernelSet();

}  // namespace sluice

#endif  // SLUICE_COMPUTE_KERNEL_SET_H_
