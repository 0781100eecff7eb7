#include "compute/neon_kernels.h"
#include "compute/simd_attention.h"
#include "compute/simd_floats.h"
#include "compute/simd_neon_chains.h"

namespace sluice::neon {

void FillFloats(KernelSet* set) {
  FillFloatProducts<NeonChains>(set);
  FillVectorOps<NeonChains>(set);
  FillAttentionOps<NeonChains>(set);
}

}  // namespace sluice::neon
