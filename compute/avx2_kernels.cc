// Not compiled with AVX2 itself: it names no vector.
#include "compute/avx2_kernels.h"

#include "compute/isa_kernel_sets.h"

namespace sluice {

void FillAvx2(KernelSet* set) {
  set->name = "avx2";
  avx2::FillKQuants(set);
  avx2::FillBlocks32(set);
  avx2::FillCodebooks(set);
  avx2::FillFloats(set);
}

}  // namespace sluice
