// Code books in planes, as filed.
#include "compute/avx512_kernels.h"
#include "compute/simd_codebook_rows_vbmi.h"
#include "compute/simd_codebooks_vbmi.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F>
void Enter(TensorType type, KernelSet* set) {
  set->kernels[static_cast<int>(type)].matmul = Avx512MatMul<F>;
}

}  // namespace

void FillVbmi(KernelSet* set) {
  Enter<BytesIq2Xxs>(TensorType::kIQ2XXS, set);
  Enter<BytesIq2Xs>(TensorType::kIQ2XS, set);
  Enter<BytesIq3Xxs>(TensorType::kIQ3XXS, set);
  Enter<BytesIq3S>(TensorType::kIQ3S, set);
}

}  // namespace sluice::avx512
