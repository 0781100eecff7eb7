#include "compute/neon_kernels.h"
#include "compute/simd_neon_panel.h"

namespace sluice::neon {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = QuadMatMul<DotProducts, F>;
};

}  // namespace

void FillKQuants(KernelSet* set) { EnterKQuants<MatMul>(set); }

}  // namespace sluice::neon
