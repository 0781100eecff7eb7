// Products of block-quantised weights panel by panel, for any number of rows and outputs.
//
// The frame is compute/simd_panel.h. Linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_PANEL_MATMUL_H_
#define SLUICE_COMPUTE_SIMD_PANEL_MATMUL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "compute/kernel_set.h"
#include "compute/simd_common.h"
#include "compute/simd_one_row.h"
#include "compute/simd_panel.h"

namespace sluice {
namespace {

// All blocks of one panel for a chunk of rows.
template <class V, class F, class Panel>
void RunPanel(const PanelSource& source, const void* const* rows, int n_rows, Chains<V>* chains) {
  for (int r = 0; r < n_rows; ++r) chains[r].main = chains[r].minimum = V::ZeroFloat();
  Panel panel;
  for (int64_t first = 0; first < source.blocks; first += Panel::kBlocks) {
    AllRows<V, F>(source.SliceAt<V, F, Panel>(first), rows, n_rows, &panel, chains);
  }
}

// Fewer outputs than lanes: the panel is run on a copy, group of blocks by
// group of blocks, whose missing rows are zero.
template <class V, class F, class Panel>
void RunNarrow(const PanelSource& source, int n_out, const void* const* rows, int n_rows, Chains<V>* chains) {
  for (int r = 0; r < n_rows; ++r) chains[r].main = chains[r].minimum = V::ZeroFloat();
  constexpr int kCopyStride = Panel::kBlocks * F::kBytes;
  uint8_t copy[V::kLanes * kCopyStride];
  std::memset(copy, 0, sizeof copy);
  Panel panel;
  for (int64_t first = 0; first < source.blocks; first += Panel::kBlocks) {
    Slice slice = source.SliceAt<V, F, Panel>(first);
    const size_t bytes = static_cast<size_t>(slice.blocks * F::kBytes);
    for (int o = 0; o < n_out; ++o) std::memcpy(copy + o * kCopyStride, slice.bytes + o * slice.stride, bytes);
    slice.bytes = copy;
    slice.stride = kCopyStride;
    AllRows<V, F>(slice, rows, n_rows, &panel, chains);
  }
}

template <class V, class F, class Panel>
void NarrowMatMul(const MatMulArgs& args, const PanelSource& source, int64_t first_row, int n_rows) {
  Chains<V> chains[kChunkRows];
  const int n_out = static_cast<int>(args.n_out);
  RunNarrow<V, F, Panel>(source, n_out, args.activations + first_row, n_rows, chains);
  for (int r = 0; r < n_rows; ++r) {
    float lanes[V::kLanes];
    V::StoreFloat(lanes, Finish<V, F>(chains[r]));
    std::memcpy(args.outputs[first_row + r], lanes, n_out * sizeof(float));
  }
}

// The outputs of one row that fill pairs of panels, where those go side by side; how many they are.
template <class V, class F, class Panel>
int64_t OneRowInPairs(PanelSource source, const MatMulArgs& args, int64_t row) {
  constexpr int64_t kOutputs = 2 * V::kLanes;
  int64_t output = 0;
  if constexpr (F::kSideBySide) {
    for (; output + kOutputs <= args.n_out; output += kOutputs, source.bytes += kOutputs * source.stride) {
      Chains<V> chains[2];
      RunOneRow<V, F, Panel, 2>(source, args.activations[row], chains);
      for (int p = 0; p < 2; ++p) V::StoreFloat(args.outputs[row] + output + p * V::kLanes, Finish<V, F>(chains[p]));
    }
  }
  return output;
}

// At least kLanes outputs; the last panel overlaps the one before it, so that
// it is full, and stores the same bits again.
template <class V, class F, class Panel>
void ChunkMatMul(const MatMulArgs& args, PanelSource source, int64_t first_row, int n_rows) {
  Chains<V> chains[kChunkRows];
  const uint8_t* weights = source.bytes;
  const int64_t done = n_rows == 1 ? OneRowInPairs<V, F, Panel>(source, args, first_row) : 0;
  for (int64_t output = done; output < args.n_out; output += V::kLanes) {
    const int64_t first = output + V::kLanes <= args.n_out ? output : args.n_out - V::kLanes;
    source.bytes = weights + first * source.stride;
    if (n_rows == 1) {
      RunOneRow<V, F, Panel, 1>(source, args.activations[first_row], chains);
    } else {
      RunPanel<V, F, Panel>(source, args.activations + first_row, n_rows, chains);
    }
    for (int r = 0; r < n_rows; ++r) V::StoreFloat(args.outputs[first_row + r] + first, Finish<V, F>(chains[r]));
  }
}

// The first panel.
template <class V, class F>
PanelSource SourceOf(const MatMulArgs& args) {
  PanelSource source;
  source.bytes = static_cast<const uint8_t*>(args.weights);
  source.blocks = args.n_in / F::template Panel<V>::kElements;
  source.stride = static_cast<size_t>(source.blocks * F::kBytes);
  return source;
}

// A MatMulFn.
template <class V, class F>
void PanelMatMul(const MatMulArgs& args) {
  using Panel = typename F::template Panel<V>;
  const PanelSource source = SourceOf<V, F>(args);
  for (int64_t first = 0; first < args.n_rows; first += kChunkRows) {
    const int64_t left = args.n_rows - first;
    const int n_rows = static_cast<int>(left < kChunkRows ? left : kChunkRows);
    if (args.n_out < V::kLanes) {
      NarrowMatMul<V, F, Panel>(args, source, first, n_rows);
    } else {
      ChunkMatMul<V, F, Panel>(args, source, first, n_rows);
    }
  }
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_PANEL_MATMUL_H_
