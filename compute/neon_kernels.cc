// Not compiled for an instruction set itself: it names no vector.
#include "compute/neon_kernels.h"

#include "compute/isa_kernel_sets.h"

namespace sluice {

void FillNeon(KernelSet* set) {
  set->name = "neon";
  neon::FillKQuants(set);
  neon::FillBlocks32(set);
  neon::FillCodebooks(set);
  neon::FillFloats(set);
}

void FillNeonI8mm(KernelSet* set) {
  FillNeon(set);
  set->name = "neon_i8mm";
  neon_i8mm::FillKQuants(set);
  neon_i8mm::FillBlocks32(set);
  neon_i8mm::FillCodebooks(set);
}

}  // namespace sluice
