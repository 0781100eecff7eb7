#include "compute/avx512_kernels.h"
#include "compute/simd_attention.h"
#include "compute/simd_chains_avx512.h"
#include "compute/simd_floats.h"

namespace sluice::avx512 {

void FillFloats(KernelSet* set) {
  FillFloatProducts<Avx512Chains>(set);
  FillVectorOps<Avx512Chains>(set);
  FillAttentionOps<Avx512Chains>(set);
}

}  // namespace sluice::avx512
