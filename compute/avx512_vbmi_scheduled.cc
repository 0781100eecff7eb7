// The formats that gain by instructions in another order than the others (compute/meson.build): code books too large
// for permutations, those that a table of sixteen serves, and interleaved ones.
#include "compute/avx512_kernels.h"
#include "compute/simd_avx512_vbmi.h"
#include "compute/simd_blocks32.h"
#include "compute/simd_codebook_rows_vbmi.h"
#include "compute/simd_codebooks_vbmi.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F, class Words = Avx512>
void Enter(TensorType type, KernelSet* set) {
  set->kernels[static_cast<int>(type)].matmul = Avx512MatMul<F, Words>;
}
template <class F>
void EnterInterleaved(TensorType type, KernelSet* set) {
  set->kernels[static_cast<int>(type)].matmul_interleaved = Avx512MatMul<F, Avx512InterleavedOnUse>;
}

}  // namespace

void FillVbmiScheduled(KernelSet* set) {
  Enter<BytesIq2S>(TensorType::kIQ2S, set);
  Enter<BytesIq1S>(TensorType::kIQ1S, set);
  Enter<BytesIq1M>(TensorType::kIQ1M, set);
  Enter<FormatIq4Nl, Avx512Vbmi>(TensorType::kIQ4NL, set);
  Enter<FormatIq4Xs, Avx512Vbmi>(TensorType::kIQ4XS, set);
  Enter<FormatMxfp4, Avx512Vbmi>(TensorType::kMXFP4, set);
  EnterInterleaved<BytesIq2Xxs>(TensorType::kIQ2XXS, set);
  EnterInterleaved<BytesIq2XsLabels>(TensorType::kIQ2XS, set);
  EnterInterleaved<BytesIq2SLabels>(TensorType::kIQ2S, set);
  EnterInterleaved<BytesIq3Xxs>(TensorType::kIQ3XXS, set);
  EnterInterleaved<BytesIq3S>(TensorType::kIQ3S, set);
  EnterInterleaved<BytesIq1SLabels>(TensorType::kIQ1S, set);
  EnterInterleaved<BytesIq1MLabels>(TensorType::kIQ1M, set);
}

}  // namespace sluice::avx512
