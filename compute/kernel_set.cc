#include "compute/kernel_set.h"

#include <array>

#include "compute/float_matmul.h"
#include "compute/isa_kernel_sets.h"
#include "compute/portable.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(SLUICE_HAVE_NEON)
#include "compute/neon_features.h"
#endif

namespace sluice {
namespace {

constexpr int kMaxSets = 4;

// The sets that this CPU can run, best first, and views of them.
struct Registry {
  std::array<KernelSet, kMaxSets> sets{};
  std::array<const KernelSet*, kMaxSets> available{};
  size_t count = 0;

  KernelSet* Add() {
    KernelSet* set = &sets[count];
    portable::Fill(set);
    available[count++] = set;
    return set;
  }
};

#if defined(SLUICE_HAVE_AVX2) || defined(SLUICE_HAVE_AVX512)
// By hand: clang 14 does not know the name. That the system saves the wide
// registers is part of the checks for avx2 and avx512f.
bool CpuHasF16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

#ifdef SLUICE_HAVE_AVX2
bool CpuHasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && CpuHasF16c(); }
#endif

#ifdef SLUICE_EMULATES_AVX512
bool CpuHasAvx512() { return CpuHasAvx2(); }
bool CpuHasVbmi() { return CpuHasAvx2(); }
#elif defined(SLUICE_HAVE_AVX512)
bool CpuHasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma") && CpuHasF16c();
}
bool CpuHasVbmi() { return __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("gfni"); }
#endif

// In place: the views point into the object.
void Build(Registry* registry) {
#ifdef SLUICE_HAVE_AVX512
  if (CpuHasAvx512() && CpuHasVbmi()) FillAvx512Vbmi(registry->Add());
  if (CpuHasAvx512()) FillAvx512(registry->Add());
#endif
#ifdef SLUICE_HAVE_AVX2
  if (CpuHasAvx2()) FillAvx2(registry->Add());
#endif
#ifdef SLUICE_HAVE_NEON
  if (CpuHasNeonDotProduct() && CpuHasNeonI8mm()) FillNeonI8mm(registry->Add());
  if (CpuHasNeonDotProduct()) FillNeon(registry->Add());
#endif
  registry->Add();
}

const Registry& TheRegistry() {
  struct Built : Registry {
    Built() { Build(this); }
  };
  static const Built registry;
  return registry;
}

void BestFloatMatMul(const MatMulArgs& args) { MatMulInFloat(args, BestKernelSet().ops.dot_lanes); }

KernelSet MakeFloatSet() {
  KernelSet set = BestKernelSet();
  set.name = "float";
  for (Kernel& kernel : set.kernels) {
    // Float types have kernels of their own with the same arithmetic.
    const bool is_quantized = kernel.matmul != nullptr && kernel.format != ActivationFormat::kF32;
    if (is_quantized) kernel = {ActivationFormat::kF32, BestFloatMatMul};
  }
  return set;
}

}  // namespace

absl::Span<const KernelSet* const> AvailableKernelSets() {
  const Registry& registry = TheRegistry();
  return {registry.available.data(), registry.count};
}

const KernelSet& BestKernelSet() { return *AvailableKernelSets().front(); }

const KernelSet* FindKernelSet(absl::string_view name) {
  for (const KernelSet* set : AvailableKernelSets()) {
    if (set->name == name) return set;
  }
  return name == "float" ? &FloatKernelSet() : nullptr;
}

const KernelSet& FloatKernelSet() {
  static const KernelSet set = MakeFloatSet();
  return set;
}

}  // namespace sluice
