#include "compute/avx512_kernels.h"
#include "compute/simd_avx512.h"
#include "compute/simd_kquants.h"
#include "compute/simd_tiles.h"

namespace sluice::avx512 {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = TiledMatMul<F>;
};

}  // namespace

void FillKQuants(KernelSet* set) { EnterKQuants<MatMul>(set); }

}  // namespace sluice::avx512
