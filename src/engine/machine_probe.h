// What memory and cores can do, measured in a fraction of a second.
#ifndef SLUICE_SRC_ENGINE_MACHINE_PROBE_H_
#define SLUICE_SRC_ENGINE_MACHINE_PROBE_H_

#include "absl/status/statusor.h"
#include "base/tensor_type.h"
#include "base/thread_pool.h"
#include "compute/kernel_set.h"

namespace sluice {

// Bytes per second of weights of `type` that a product with one row takes in.
absl::StatusOr<double> MeasureKernelRate(const KernelSet& kernels, TensorType type, ThreadPool* threads);

// Bytes per second that all threads together read from memory far larger than
// the caches: products with float32 weights do little else, with the widest
// loads there are.
absl::StatusOr<double> MeasureMemoryRate(const KernelSet& kernels, ThreadPool* threads);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_MACHINE_PROBE_H_
