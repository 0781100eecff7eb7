#include "compute/neon_features.h"

#if defined(__linux__)
// Declared in a header of Linux alone, which stays out of compute/.
extern "C" unsigned long getauxval(unsigned long type) noexcept;
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#include <sys/types.h>

#include <cstddef>
#endif

namespace sluice {
namespace {

#if defined(__linux__)
// Bits of the kernel's interface, which older headers lack.
constexpr unsigned long kHwcapDotProduct = 1ul << 20;
constexpr unsigned long kHwcap2I8mm = 1ul << 13;
constexpr unsigned long kAuxHwcap = 16;
constexpr unsigned long kAuxHwcap2 = 26;

bool HasAux(unsigned long type, unsigned long bit) { return (getauxval(type) & bit) != 0; }
#elif defined(__APPLE__)
bool HasFeature(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

}  // namespace

#if defined(__linux__)
bool CpuHasNeonDotProduct() { return HasAux(kAuxHwcap, kHwcapDotProduct); }
bool CpuHasNeonI8mm() { return HasAux(kAuxHwcap2, kHwcap2I8mm); }
#elif defined(__APPLE__)
bool CpuHasNeonDotProduct() { return HasFeature("hw.optional.arm.FEAT_DotProd"); }
bool CpuHasNeonI8mm() { return HasFeature("hw.optional.arm.FEAT_I8MM"); }
#else
bool CpuHasNeonDotProduct() { return false; }
bool CpuHasNeonI8mm() { return false; }
#endif

}  // namespace sluice
