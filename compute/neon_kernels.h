// The parts of FillNeon and FillNeonI8mm, one for each file compiled with the
// dot product or with the matrix instructions.
#ifndef SLUICE_COMPUTE_NEON_KERNELS_H_
#define SLUICE_COMPUTE_NEON_KERNELS_H_

#include "compute/kernel_set.h"

namespace sluice::neon {

void FillKQuants(KernelSet* set);
void FillBlocks32(KernelSet* set);
void FillCodebooks(KernelSet* set);
void FillFloats(KernelSet* set);

}  // namespace sluice::neon

namespace sluice::neon_i8mm {

void FillKQuants(KernelSet* set);
void FillBlocks32(KernelSet* set);
void FillCodebooks(KernelSet* set);

}  // namespace sluice::neon_i8mm

#endif  // SLUICE_COMPUTE_NEON_KERNELS_H_
