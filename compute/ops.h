// Elementary functions of the forward pass, with bits fixed by construction.
//
// Everything here is built from +, -, *, / and explicit fma on float32, in a
// stated order, so that each instruction set's vector version and each tail
// gives the same bits.
#ifndef SLUICE_COMPUTE_OPS_H_
#define SLUICE_COMPUTE_OPS_H_

#include <cstdint>

#include "compute/kernel_set.h"

namespace sluice {

inline constexpr int kLanes = 16;

// The one way sixteen chains become a sum:
// s[j] += s[j + 8] for j < 8, then + 4, then + 2, then s[0] + s[1].
float SumLanes(const float lanes[kLanes]);

// exp(x) by range reduction and a polynomial, all fma, in the steps that
// compute/exp_poly.h lays down; relative error below 2e-7; 0 below -87.3, +inf
// above 88.7, NaN for NaN. No subnormal results.
float Exp(float x);
// x / (1 + Exp(-x)): one sum, one quotient. NaN at -inf.
float Silu(float x);

// As the hardware does, subnormals and NaN included (a signalling NaN becomes
// quiet, its payload stays).
float F16ToF32(uint16_t half);
uint16_t F32ToF16(float value);  // round to nearest even
float BF16ToF32(uint16_t bits);

// out[i] = (x[i] * (1 / sqrt(mean(x^2) + epsilon))) * weight[i]; the sum of
// squares by sixteen fma chains and SumLanes, divided by n. `out` may be `x`.
void RmsNorm(const VectorOps& ops, const float* x, const float* weight, int64_t n, float epsilon, float* out);

// In place: Exp(x - max), summed in sixteen chains, each times 1 / sum.
void Softmax(const VectorOps& ops, float* x, int64_t n);

// In place: 1 / (1 + Exp(-x)).
void Sigmoid(const VectorOps& ops, float* x, int64_t n);

// x[i] *= factor, which by a factor of 1 costs nothing.
void ScaleRow(float factor, float* x, int64_t n);

}  // namespace sluice

#endif  // SLUICE_COMPUTE_OPS_H_
