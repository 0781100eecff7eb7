// Which activation formats the products of an operation want.
#ifndef SLUICE_SRC_MODEL_FORMATS_H_
#define SLUICE_SRC_MODEL_FORMATS_H_

#include "src/model/activation_rows.h"
#include "src/model/weight_layout.h"

namespace sluice {

// Of slice `slice` of every step of `op`.
inline FormatSet FormatsOfSlice(const WeightLayout& layout, const KernelSet& kernels, TrunkOp op, size_t slice) {
  FormatSet formats;
  for (const TrunkStep& step : layout.steps) {
    if (step.op == op) formats.Add(kernels.For(step.slices[slice].type).format);
  }
  return formats;
}

// Of all slices of every step of `op`.
inline FormatSet FormatsOf(const WeightLayout& layout, const KernelSet& kernels, TrunkOp op) {
  FormatSet formats;
  for (const TrunkStep& step : layout.steps) {
    if (step.op != op) continue;
    for (const MatrixSlice& slice : step.slices) formats.Add(kernels.For(slice.type).format);
  }
  return formats;
}

inline FormatSet Union(FormatSet a, const FormatSet& b) {
  for (int f = 0; f < kActivationFormats; ++f) a.has[f] = a.has[f] || b.has[f];
  return a;
}

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_FORMATS_H_
