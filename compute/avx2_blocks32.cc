#include "compute/avx2_kernels.h"
#include "compute/simd_avx2.h"
#include "compute/simd_blocks32.h"
#include "compute/simd_tiles_avx2.h"

namespace sluice::avx2 {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = Avx2MatMul<F>;
};

}  // namespace

void FillBlocks32(KernelSet* set) { EnterBlocks32<MatMul>(set); }

}  // namespace sluice::avx2
