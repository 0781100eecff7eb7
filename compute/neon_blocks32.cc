#include "compute/neon_kernels.h"
#include "compute/simd_neon_panel.h"

namespace sluice::neon {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = QuadMatMul<DotProducts, F>;
};

}  // namespace

void FillBlocks32(KernelSet* set) { EnterBlocks32<MatMul>(set); }

}  // namespace sluice::neon
