#include "compute/neon_kernels.h"
#include "compute/simd_neon_matrix.h"

namespace sluice::neon_i8mm {
namespace {

template <class F>
constexpr Kernel kKernel = {ActivationFormat::kQ8Block256, QuadMatMul<MatrixProducts, F>};

}  // namespace

void FillKQuants(KernelSet* set) {
  Kernel* kernels = set->kernels;
  kernels[static_cast<int>(TensorType::kQ2K)] = kKernel<FormatQ2K>;
  kernels[static_cast<int>(TensorType::kQ3K)] = kKernel<FormatQ3K>;
  kernels[static_cast<int>(TensorType::kQ4K)] = kKernel<FormatQ4K>;
  kernels[static_cast<int>(TensorType::kQ5K)] = kKernel<FormatQ5K>;
  kernels[static_cast<int>(TensorType::kQ6K)] = kKernel<FormatQ6K>;
  kernels[static_cast<int>(TensorType::kIQ4XS)] = kKernel<FormatIq4Xs>;
}

}  // namespace sluice::neon_i8mm
