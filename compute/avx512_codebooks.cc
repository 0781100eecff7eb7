#include "compute/avx512_kernels.h"
#include "compute/simd_avx512.h"
#include "compute/simd_codebooks_avx512.h"
#include "compute/simd_tiles_avx512.h"

namespace sluice::avx512 {
namespace {

template <class F>
constexpr Kernel kKernel = {ActivationFormat::kQ8Block256, Avx512MatMul<F>};

}  // namespace

void FillCodebooks(KernelSet* set) {
  Kernel* kernels = set->kernels;
  kernels[static_cast<int>(TensorType::kIQ2XXS)] = kKernel<GridIq2Xxs>;
  kernels[static_cast<int>(TensorType::kIQ2XS)] = kKernel<GridIq2Xs>;
  kernels[static_cast<int>(TensorType::kIQ2S)] = kKernel<GridIq2S>;
  kernels[static_cast<int>(TensorType::kIQ3XXS)] = kKernel<GridIq3Xxs>;
  kernels[static_cast<int>(TensorType::kIQ3S)] = kKernel<GridIq3S>;
  kernels[static_cast<int>(TensorType::kIQ1S)] = kKernel<GridIq1S>;
  kernels[static_cast<int>(TensorType::kIQ1M)] = kKernel<GridIq1M>;
}

}  // namespace sluice::avx512
