#include "compute/avx2_kernels.h"
#include "compute/simd_attention.h"
#include "compute/simd_chains_avx2.h"
#include "compute/simd_floats.h"

namespace sluice::avx2 {

void FillFloats(KernelSet* set) {
  FillFloatProducts<Avx2Chains>(set);
  FillVectorOps<Avx2Chains>(set);
  FillAttentionOps<Avx2Chains>(set);
}

}  // namespace sluice::avx2
