// The parts of FillAvx512 and FillAvx512Vbmi, one for each file compiled with AVX-512.
#ifndef SLUICE_COMPUTE_AVX512_KERNELS_H_
#define SLUICE_COMPUTE_AVX512_KERNELS_H_

#include "compute/kernel_set.h"

namespace sluice::avx512 {

void FillKQuants(KernelSet* set);
void FillBlocks32(KernelSet* set);
void FillCodebooks(KernelSet* set);
void FillFloats(KernelSet* set);
// Of FillAvx512Vbmi.
void FillVbmi(KernelSet* set);
void FillVbmiScheduled(KernelSet* set);

}  // namespace sluice::avx512

#endif  // SLUICE_COMPUTE_AVX512_KERNELS_H_
