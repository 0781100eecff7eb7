#include "compute/avx512_kernels.h"
#include "compute/simd_avx512_vbmi.h"
#include "compute/simd_blocks32.h"
#include "compute/simd_codebook_rows_vbmi.h"
#include "compute/simd_codebooks_vbmi.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F, class Words>
void Enter(TensorType type, KernelSet* set) {
  set->kernels[static_cast<int>(type)].matmul = Avx512MatMul<F, Words>;
}
template <class F>
void EnterInterleaved(TensorType type, KernelSet* set) {
  set->kernels[static_cast<int>(type)].matmul_interleaved = Avx512MatMul<F, Avx512InterleavedOnUse>;
}
template <class F, class Interleaved = F>
void EnterPlanes(TensorType type, KernelSet* set) {
  Enter<F, Avx512>(type, set);
  EnterInterleaved<Interleaved>(type, set);
}

}  // namespace

void FillVbmi(KernelSet* set) {
  EnterPlanes<BytesIq2Xxs>(TensorType::kIQ2XXS, set);
  EnterPlanes<BytesIq2Xs, BytesIq2XsLabels>(TensorType::kIQ2XS, set);
  EnterInterleaved<BytesIq2SLabels>(TensorType::kIQ2S, set);
  EnterPlanes<BytesIq3Xxs>(TensorType::kIQ3XXS, set);
  EnterPlanes<BytesIq3S>(TensorType::kIQ3S, set);
  Enter<FormatIq4Nl, Avx512Vbmi>(TensorType::kIQ4NL, set);
  Enter<FormatIq4Xs, Avx512Vbmi>(TensorType::kIQ4XS, set);
  Enter<FormatMxfp4, Avx512Vbmi>(TensorType::kMXFP4, set);
}

}  // namespace sluice::avx512
