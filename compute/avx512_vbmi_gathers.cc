// The code books that are too large for permutations, by themselves: their instructions are ordered in another way
// (compute/meson.build).
#include "compute/avx512_kernels.h"
#include "compute/simd_avx512_vbmi.h"
#include "compute/simd_codebook_rows_vbmi.h"
#include "compute/simd_codebooks_vbmi.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F>
void Enter(TensorType type, KernelSet* set) {
  Kernel& kernel = set->kernels[static_cast<int>(type)];
  kernel.matmul = Avx512MatMul<F>;
  kernel.matmul_interleaved = Avx512MatMul<F, Avx512Interleaved>;
}

}  // namespace

void FillVbmiGathers(KernelSet* set) {
  set->kernels[static_cast<int>(TensorType::kIQ2S)].matmul = Avx512MatMul<BytesIq2S>;
  Enter<BytesIq1S>(TensorType::kIQ1S, set);
  Enter<BytesIq1M>(TensorType::kIQ1M, set);
}

}  // namespace sluice::avx512
