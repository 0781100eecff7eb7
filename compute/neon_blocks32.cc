#include "compute/neon_kernels.h"
#include "compute/simd_neon_panel.h"

namespace sluice::neon {
namespace {

template <class F>
constexpr Kernel kKernel = {ActivationFormat::kQ8Block32, QuadMatMul<DotProducts, F>};

}  // namespace

void FillBlocks32(KernelSet* set) {
  Kernel* kernels = set->kernels;
  kernels[static_cast<int>(TensorType::kQ4_0)] = kKernel<FormatQ4_0>;
  kernels[static_cast<int>(TensorType::kQ4_1)] = kKernel<FormatQ4_1>;
  kernels[static_cast<int>(TensorType::kQ5_0)] = kKernel<FormatQ5_0>;
  kernels[static_cast<int>(TensorType::kQ5_1)] = kKernel<FormatQ5_1>;
  kernels[static_cast<int>(TensorType::kQ8_0)] = kKernel<FormatQ8_0>;
  kernels[static_cast<int>(TensorType::kIQ4NL)] = kKernel<FormatIq4Nl>;
  kernels[static_cast<int>(TensorType::kMXFP4)] = kKernel<FormatMxfp4>;
}

}  // namespace sluice::neon
