#include "compute/avx512_kernels.h"
#include "compute/simd_avx512_vbmi.h"
#include "compute/simd_blocks32.h"
#include "compute/simd_codebooks_vbmi.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F, class Words>
void Enter(TensorType type, KernelSet* set) {
  set->kernels[static_cast<int>(type)].matmul = Avx512MatMul<F, Words>;
}
template <class F>
void EnterCodebook(TensorType type, KernelSet* set) {
  Enter<F, Avx512>(type, set);
  set->kernels[static_cast<int>(type)].matmul_interleaved = Avx512MatMul<F, Avx512Interleaved>;
}

}  // namespace

void FillVbmi(KernelSet* set) {
  EnterCodebook<BytesIq2Xxs>(TensorType::kIQ2XXS, set);
  EnterCodebook<BytesIq2Xs>(TensorType::kIQ2XS, set);
  EnterCodebook<BytesIq2S>(TensorType::kIQ2S, set);
  EnterCodebook<BytesIq3Xxs>(TensorType::kIQ3XXS, set);
  EnterCodebook<BytesIq3S>(TensorType::kIQ3S, set);
  EnterCodebook<BytesIq1S>(TensorType::kIQ1S, set);
  EnterCodebook<BytesIq1M>(TensorType::kIQ1M, set);
  Enter<FormatIq4Nl, Avx512Vbmi>(TensorType::kIQ4NL, set);
  Enter<FormatIq4Xs, Avx512Vbmi>(TensorType::kIQ4XS, set);
  Enter<FormatMxfp4, Avx512Vbmi>(TensorType::kMXFP4, set);
}

}  // namespace sluice::avx512
