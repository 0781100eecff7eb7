#include "compute/neon_kernels.h"
#include "compute/simd_neon_panel.h"

namespace sluice::neon {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = QuadMatMul<DotProducts, F>;
};

}  // namespace

void FillCodebooks(KernelSet* set) { EnterCodebooks<MatMul>(set); }

}  // namespace sluice::neon
