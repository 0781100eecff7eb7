#include "compute/avx2_kernels.h"
#include "compute/simd_avx2.h"
#include "compute/simd_codebooks.h"
#include "compute/simd_tiles_avx2.h"

namespace sluice::avx2 {
namespace {

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = Avx2MatMul<F>;
};

}  // namespace

void FillCodebooks(KernelSet* set) { EnterCodebooks<MatMul>(set); }

}  // namespace sluice::avx2
