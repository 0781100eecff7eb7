#include "compute/avx2_kernels.h"
#include "compute/simd_avx2.h"
#include "compute/simd_codebook_rows.h"
#include "compute/simd_codebooks.h"
#include "compute/simd_tiles_avx2.h"

namespace sluice::avx2 {
namespace {

template <class F>
void CodebookMatMul(const MatMulArgs& args) {
  if (args.n_rows == 0) return;
  return args.n_rows <= kFewCodebookRows ? FewRowsMatMul<typename F::OfRow>(args) : Avx2MatMul<F>(args);
}

template <class F>
struct MatMul {
  static constexpr MatMulFn kRun = CodebookMatMul<F>;
};

}  // namespace

void FillCodebooks(KernelSet* set) { EnterCodebooks<MatMul>(set); }

}  // namespace sluice::avx2
