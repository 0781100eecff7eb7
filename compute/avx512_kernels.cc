// Not compiled with AVX-512 itself: it names no vector.
#include "compute/avx512_kernels.h"

#include "compute/isa_kernel_sets.h"

namespace sluice {

void FillAvx512(KernelSet* set) {
  set->name = "avx512";
  avx512::FillKQuants(set);
  avx512::FillBlocks32(set);
  avx512::FillCodebooks(set);
  avx512::FillFloats(set);
}

void FillAvx512Vbmi(KernelSet* set) {
  FillAvx512(set);
  set->name = "avx512_vbmi";
  avx512::FillVbmi(set);
  avx512::FillVbmiScheduled(set);
}

}  // namespace sluice
