// The reference entries of every kernel set, in plain C++.
//
// Correct on any CPU and fast on none: fma may be a library call. Sets of an
// instruction set start from these and are tested against them bit for bit.
#ifndef SLUICE_COMPUTE_PORTABLE_H_
#define SLUICE_COMPUTE_PORTABLE_H_

#include <cstdint>

#include "compute/kernel_set.h"

namespace sluice::portable {

// VectorOps, one function per member.
float Dot(const float* a, const float* b, int64_t n);
void DotLanes(const float* a, const float* b, int64_t n, float lanes[16]);
void Axpy(float scale, const float* x, float* y, int64_t n);
void WidenF16(const WidenRowsArgs& args);
void WidenQ8(const WidenRowsArgs& args);
void F32RowToF16(const float* in, uint16_t* out, int64_t n);
void Swiglu(const float* gate, const float* up, float* out, int64_t n);
float ExpSum(float* x, int64_t n, float max);
VectorOps Ops();

// AttentionOps, one function per member.
void AddProduct(const AddProductArgs& args);
void SoftmaxStep(const SoftmaxStepArgs& args);

// The product of the types that have blocks, with activations in kQ8Block32 or
// kQ8Block256 according to the block length.
void IntegerMatMul(const MatMulArgs& args);
// The product of F32, F16 and BF16 weights with float activations.
void FloatMatMul(const MatMulArgs& args);

// Every entry and the name.
void Fill(KernelSet* set);

}  // namespace sluice::portable

#endif  // SLUICE_COMPUTE_PORTABLE_H_
