// The float product of any weight type: rows are decoded piece by piece on the
// stack and enter the sixteen chains of each activation row.
#ifndef SLUICE_COMPUTE_FLOAT_MATMUL_H_
#define SLUICE_COMPUTE_FLOAT_MATMUL_H_

#include "compute/kernel_set.h"

namespace sluice {

using DotLanesFn = void (*)(const float* a, const float* b, int64_t n, float lanes[16]);

// Same bits with every correct `dot_lanes` (VectorOps) and any number of rows.
void MatMulInFloat(const MatMulArgs& args, DotLanesFn dot_lanes);

}  // namespace sluice

#endif  // SLUICE_COMPUTE_FLOAT_MATMUL_H_
