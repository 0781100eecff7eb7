#include "compute/avx512_kernels.h"
#include "compute/simd_avx512.h"
#include "compute/simd_blocks32.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = Avx512MatMul<F>;
};

}  // namespace

void FillBlocks32(KernelSet* set) { EnterBlocks32<MatMul>(set); }

}  // namespace sluice::avx512
