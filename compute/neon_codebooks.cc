#include "compute/neon_kernels.h"
#include "compute/simd_neon_panel.h"

namespace sluice::neon {
namespace {

template <class Row>
constexpr Kernel kKernel = {ActivationFormat::kQ8Block256, QuadMatMul<DotProducts, CodebookFormat<Row>>};

}  // namespace

void FillCodebooks(KernelSet* set) {
  Kernel* kernels = set->kernels;
  kernels[static_cast<int>(TensorType::kIQ2XXS)] = kKernel<RowIq2Xxs>;
  kernels[static_cast<int>(TensorType::kIQ2XS)] = kKernel<RowIq2Xs>;
  kernels[static_cast<int>(TensorType::kIQ2S)] = kKernel<RowIq2S>;
  kernels[static_cast<int>(TensorType::kIQ3XXS)] = kKernel<RowIq3Xxs>;
  kernels[static_cast<int>(TensorType::kIQ3S)] = kKernel<RowIq3S>;
  kernels[static_cast<int>(TensorType::kIQ1S)] = kKernel<RowIq1S>;
  kernels[static_cast<int>(TensorType::kIQ1M)] = kKernel<RowIq1M>;
}

}  // namespace sluice::neon
