#include "compute/avx512_kernels.h"
#include "compute/simd_avx512_vbmi.h"
#include "compute/simd_blocks32.h"
#include "compute/simd_codebooks_vbmi.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F, class Words = Avx512>
void Enter(TensorType type, KernelSet* set) {
  set->kernels[static_cast<int>(type)].matmul = Avx512MatMul<F, Words>;
}

}  // namespace

void FillVbmi(KernelSet* set) {
  Enter<BytesIq2Xxs>(TensorType::kIQ2XXS, set);
  Enter<BytesIq2Xs>(TensorType::kIQ2XS, set);
  Enter<BytesIq2S>(TensorType::kIQ2S, set);
  Enter<BytesIq3Xxs>(TensorType::kIQ3XXS, set);
  Enter<BytesIq3S>(TensorType::kIQ3S, set);
  Enter<BytesIq1S>(TensorType::kIQ1S, set);
  Enter<BytesIq1M>(TensorType::kIQ1M, set);
  Enter<FormatIq4Nl, Avx512Vbmi>(TensorType::kIQ4NL, set);
  Enter<FormatIq4Xs, Avx512Vbmi>(TensorType::kIQ4XS, set);
  Enter<FormatMxfp4, Avx512Vbmi>(TensorType::kMXFP4, set);
}

}  // namespace sluice::avx512
