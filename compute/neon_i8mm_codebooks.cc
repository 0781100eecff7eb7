#include "compute/neon_kernels.h"
#include "compute/simd_neon_matrix.h"

namespace sluice::neon_i8mm {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = QuadMatMul<MatrixProducts, F>;
};

}  // namespace

void FillCodebooks(KernelSet* set) { EnterCodebooks<MatMul>(set); }

}  // namespace sluice::neon_i8mm
