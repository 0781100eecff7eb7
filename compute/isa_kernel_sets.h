// The seam between the registry and the files of one instruction set.
//
// Each function receives a set already filled with the portable entries and
// overwrites its name and every entry that it does faster, with the same bits.
// Called once, when the registry builds its table, and only on a CPU that has
// the instructions. Nothing else in a file compiled for them (avx*_, neon_*) may
// run before that check: no static initialiser, no inline function shared with
// baseline files that the linker could take from there.
#ifndef SLUICE_COMPUTE_ISA_KERNEL_SETS_H_
#define SLUICE_COMPUTE_ISA_KERNEL_SETS_H_

#include "compute/kernel_set.h"

namespace sluice {

// Needs AVX2, FMA and F16C. Defined when SLUICE_HAVE_AVX2 is.
void FillAvx2(KernelSet* set);
// Needs AVX-512 F, BW, VL, DQ and VNNI. Defined when SLUICE_HAVE_AVX512 is.
void FillAvx512(KernelSet* set);
// Needs VBMI and GFNI as well. Defined when SLUICE_HAVE_AVX512 is.
void FillAvx512Vbmi(KernelSet* set);
// Needs ARMv8.2 with the dot product. Defined when SLUICE_HAVE_NEON is.
void FillNeon(KernelSet* set);
// Needs I8MM as well. Defined when SLUICE_HAVE_NEON is.
void FillNeonI8mm(KernelSet* set);

}  // namespace sluice

#endif  // SLUICE_COMPUTE_ISA_KERNEL_SETS_H_
