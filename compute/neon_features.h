// What an arm64 CPU can do beyond its baseline, as the system tells it.
#ifndef SLUICE_COMPUTE_NEON_FEATURES_H_
#define SLUICE_COMPUTE_NEON_FEATURES_H_

namespace sluice {

// False where the system offers no way to ask.
bool CpuHasNeonDotProduct();
bool CpuHasNeonI8mm();

}  // namespace sluice

#endif  // SLUICE_COMPUTE_NEON_FEATURES_H_
