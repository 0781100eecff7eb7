#include "compute/avx512_kernels.h"
#include "compute/simd_avx512.h"
#include "compute/simd_codebooks_vbmi.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F>
constexpr Kernel kKernel = {ActivationFormat::kQ8Block256, Avx512MatMul<F>};

}  // namespace

void FillVbmiCodebooks(KernelSet* set) {
  Kernel* kernels = set->kernels;
  kernels[static_cast<int>(TensorType::kIQ2XXS)] = kKernel<BytesIq2Xxs>;
  kernels[static_cast<int>(TensorType::kIQ3XXS)] = kKernel<BytesIq3Xxs>;
  kernels[static_cast<int>(TensorType::kIQ3S)] = kKernel<BytesIq3S>;
  kernels[static_cast<int>(TensorType::kIQ1S)] = kKernel<BytesIq1S>;
  kernels[static_cast<int>(TensorType::kIQ1M)] = kKernel<BytesIq1M>;
}

}  // namespace sluice::avx512
