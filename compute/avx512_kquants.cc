#include "compute/avx512_kernels.h"
#include "compute/simd_avx512.h"
#include "compute/simd_kquants.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = Avx512MatMul<F>;
};

}  // namespace

void FillKQuants(KernelSet* set) { EnterKQuants<MatMul>(set); }

}  // namespace sluice::avx512
