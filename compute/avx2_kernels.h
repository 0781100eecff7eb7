// The parts of FillAvx2, one for each file compiled with AVX2.
#ifndef SLUICE_COMPUTE_AVX2_KERNELS_H_
#define SLUICE_COMPUTE_AVX2_KERNELS_H_

#include "compute/kernel_set.h"

namespace sluice::avx2 {

void FillKQuants(KernelSet* set);
void FillBlocks32(KernelSet* set);
void FillCodebooks(KernelSet* set);
void FillFloats(KernelSet* set);

}  // namespace sluice::avx2

#endif  // SLUICE_COMPUTE_AVX2_KERNELS_H_
