// Products of float weights, on sixteen chains.
//
// C is the vocabulary of an instruction set (Avx512Chains, Avx2Chains). Ragged
// ends go through a zero-filled copy of sixteen, which is what the canonical
// order asks for: "as if padded with zeros". Linkage as in simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_FLOAT_PRODUCTS_H_
#define SLUICE_COMPUTE_SIMD_FLOAT_PRODUCTS_H_

#include <cstdint>
#include <cstring>

#include "compute/kernel_set.h"
#include "compute/simd_common.h"

namespace sluice {
namespace {

constexpr int kChains = 16;
constexpr int kAheadBytes = 1024;  // of weights, fetched early

struct WeightsF32 {
  using Element = float;
  template <class C>
  static SLUICE_INLINE typename C::Part Load(const void* from) {
    return C::LoadPart(from);
  }
};
struct WeightsF16 {
  using Element = uint16_t;
  template <class C>
  static SLUICE_INLINE typename C::Part Load(const void* from) {
    return C::LoadF16Part(from);
  }
};
struct WeightsBf16 {
  using Element = uint16_t;
  template <class C>
  static SLUICE_INLINE typename C::Part Load(const void* from) {
    return C::LoadBf16Part(from);
  }
};

// Sixteen elements at any alignment.
template <class C, class W>
SLUICE_INLINE void LoadParts(const void* from, typename C::Part (&parts)[C::kParts]) {
  constexpr int kPartBytes = kChains / C::kParts * sizeof(typename W::Element);
  SLUICE_UNROLL
  for (int p = 0; p < C::kParts; ++p)
    parts[p] = W::template Load<C>(static_cast<const uint8_t*>(from) + p * kPartBytes);
}
// The first `count` of them, as if followed by zeros.
template <class C, class W>
SLUICE_INLINE void LoadFirstParts(const void* from, int64_t count, typename C::Part (&parts)[C::kParts]) {
  typename W::Element sixteen[kChains] = {};
  std::memcpy(sixteen, from, static_cast<size_t>(count) * sizeof(typename W::Element));
  LoadParts<C, W>(sixteen, parts);
}
// kOutputs outputs of R rows.
template <class C, class W, int kOutputs, int R>
void FloatTile(const uint8_t* weights, int64_t n_in, const void* const* rows, float* const* outputs, int64_t output) {
  constexpr int64_t kSize = sizeof(typename W::Element);
  typename C::Part sums[kOutputs][R][C::kParts];
  for (auto& of_output : sums) {
    for (auto& of_row : of_output) {
      for (typename C::Part& part : of_row) part = C::ZeroPart();
    }
  }
  const auto add = [&](int64_t i, auto load_x, auto load_w) SLUICE_INLINE_LAMBDA {
    typename C::Part x[R][C::kParts];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) load_x(static_cast<const float*>(rows[r]) + i, x[r]);
    SLUICE_UNROLL
    for (int o = 0; o < kOutputs; ++o) {
      typename C::Part w[C::kParts];
      const uint8_t* from = weights + (o * n_in + i) * kSize;
      if constexpr (R == 1) __builtin_prefetch(from + kAheadBytes, 0, 2);
      load_w(from, w);
      SLUICE_UNROLL
      for (int r = 0; r < R; ++r) {
        SLUICE_UNROLL
        for (int p = 0; p < C::kParts; ++p) sums[o][r][p] = C::FmaPart(w[p], x[r][p], sums[o][r][p]);
      }
    }
  };
  int64_t i = 0;
  for (; i + kChains <= n_in; i += kChains) add(i, LoadParts<C, WeightsF32>, LoadParts<C, W>);
  if (i < n_in) {
    const int64_t rest = n_in - i;
    add(
        i, [rest](const void* from, auto& parts) { LoadFirstParts<C, WeightsF32>(from, rest, parts); },
        [rest](const void* from, auto& parts) { LoadFirstParts<C, W>(from, rest, parts); });
  }
  SLUICE_UNROLL
  for (int o = 0; o < kOutputs; ++o) {
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) outputs[r][output + o] = C::SumParts(sums[o][r]);
  }
}

// All outputs of R rows, kOutputs at a time.
template <class C, class W, int kOutputs, int R>
void FloatRows(const MatMulArgs& args, int64_t row) {
  const int64_t row_bytes = args.n_in * static_cast<int64_t>(sizeof(typename W::Element));
  const void* const* rows = args.activations + row;
  float* const* outputs = args.outputs + row;
  const uint8_t* weights = static_cast<const uint8_t*>(args.weights);
  int64_t o = 0;
  for (; o + kOutputs <= args.n_out; o += kOutputs) {
    FloatTile<C, W, kOutputs, R>(weights + o * row_bytes, args.n_in, rows, outputs, o);
  }
  for (; o < args.n_out; ++o) FloatTile<C, W, 1, R>(weights + o * row_bytes, args.n_in, rows, outputs, o);
}

// Many rows: a block of weights is widened once, and all rows of a block pass it
// in the first-level cache. Chains wait in memory between two blocks of one row;
// that rounds nothing.
constexpr int kBlockOutputs = 16;
constexpr int kBlockRows = 32;
constexpr int kBlockSteps = 16;  // of sixteen elements
constexpr int kFewFloatRows = 8;

template <class C>
struct FloatBlock {
  typename C::Part weights[kBlockOutputs][kBlockSteps][C::kParts];
  typename C::Part sums[kBlockOutputs][kBlockRows][C::kParts];
  const float* rows[kBlockRows];
  int n_outputs;
  int n_rows;
  int steps;
};

// Continues the chains of kOutputs outputs and R rows.
template <class C, int kOutputs, int R>
SLUICE_INLINE void ContinueTile(FloatBlock<C>* block, int output, int row) {
  using Part = typename C::Part;
  Part sums[kOutputs][R][C::kParts];
  const float* rows[R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) rows[r] = block->rows[row + r];
  const auto each = [&](auto body) SLUICE_INLINE_LAMBDA {
    SLUICE_UNROLL
    for (int o = 0; o < kOutputs; ++o) {
      SLUICE_UNROLL
      for (int r = 0; r < R; ++r) {
        SLUICE_UNROLL
        for (int p = 0; p < C::kParts; ++p) body(&sums[o][r][p], &block->sums[output + o][row + r][p]);
      }
    }
  };
  each([](Part* sum, const Part* kept) SLUICE_INLINE_LAMBDA { *sum = *kept; });
  for (int step = 0; step < block->steps; ++step) {
    Part x[R][C::kParts];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) LoadParts<C, WeightsF32>(rows[r] + step * kChains, x[r]);
    SLUICE_UNROLL
    for (int o = 0; o < kOutputs; ++o) {
      SLUICE_UNROLL
      for (int p = 0; p < C::kParts; ++p) {
        const Part w = block->weights[output + o][step][p];
        SLUICE_UNROLL
        for (int r = 0; r < R; ++r) sums[o][r][p] = C::FmaPart(w, x[r][p], sums[o][r][p]);
      }
    }
  }
  each([](const Part* sum, Part* kept) SLUICE_INLINE_LAMBDA { *kept = *sum; });
}

template <class C, int R>
void ContinueRows(FloatBlock<C>* block, int row) {
  int o = 0;
  for (; o + C::kTileOutputs <= block->n_outputs; o += C::kTileOutputs) {
    ContinueTile<C, C::kTileOutputs, R>(block, o, row);
  }
  for (; o < block->n_outputs; ++o) ContinueTile<C, 1, R>(block, o, row);
}

template <class C>
void ContinueBlock(FloatBlock<C>* block) {
  int row = 0;
  for (; row + C::kTileRows <= block->n_rows; row += C::kTileRows) ContinueRows<C, C::kTileRows>(block, row);
  for (; row < block->n_rows; ++row) ContinueRows<C, 1>(block, row);
}

// The last elements of all rows, fewer than sixteen, as if followed by zeros.
template <class C, class W>
void ContinueRest(const uint8_t* weights, int64_t row_bytes, int64_t rest, FloatBlock<C>* block) {
  float space[kBlockRows][kChains] = {};
  for (int o = 0; o < block->n_outputs; ++o) LoadFirstParts<C, W>(weights + o * row_bytes, rest, block->weights[o][0]);
  for (int r = 0; r < block->n_rows; ++r) {
    std::memcpy(space[r], block->rows[r], static_cast<size_t>(rest) * sizeof(float));
    block->rows[r] = space[r];
  }
  block->steps = 1;
  ContinueBlock(block);
}

// All elements of the block's outputs and rows.
template <class C, class W>
void RunFloatBlock(const uint8_t* weights, int64_t n_in, FloatBlock<C>* block) {
  constexpr int64_t kStepBytes = kChains * sizeof(typename W::Element);
  const int64_t row_bytes = n_in * static_cast<int64_t>(sizeof(typename W::Element));
  const int64_t all_steps = n_in / kChains;
  for (int64_t first = 0; first < all_steps; first += block->steps) {
    block->steps = static_cast<int>(all_steps - first < kBlockSteps ? all_steps - first : kBlockSteps);
    for (int o = 0; o < block->n_outputs; ++o) {
      const uint8_t* from = weights + o * row_bytes + first * kStepBytes;
      for (int step = 0; step < block->steps; ++step)
        LoadParts<C, W>(from + step * kStepBytes, block->weights[o][step]);
    }
    ContinueBlock(block);
    for (int r = 0; r < block->n_rows; ++r) block->rows[r] += block->steps * kChains;
  }
  const int64_t rest = n_in % kChains;
  if (rest != 0) ContinueRest<C, W>(weights + all_steps * kStepBytes, row_bytes, rest, block);
}

template <class C, class W>
void FloatBlockMatMul(const MatMulArgs& args, int64_t first_row, int n_rows) {
  const int64_t row_bytes = args.n_in * static_cast<int64_t>(sizeof(typename W::Element));
  FloatBlock<C> block;
  block.n_rows = n_rows;
  for (int64_t output = 0; output < args.n_out; output += kBlockOutputs) {
    block.n_outputs = static_cast<int>(args.n_out - output < kBlockOutputs ? args.n_out - output : kBlockOutputs);
    for (int r = 0; r < n_rows; ++r) block.rows[r] = static_cast<const float*>(args.activations[first_row + r]);
    for (auto& of_output : block.sums) {
      for (auto& of_row : of_output) {
        for (typename C::Part& part : of_row) part = C::ZeroPart();
      }
    }
    RunFloatBlock<C, W>(static_cast<const uint8_t*>(args.weights) + output * row_bytes, args.n_in, &block);
    for (int o = 0; o < block.n_outputs; ++o) {
      for (int r = 0; r < n_rows; ++r) args.outputs[first_row + r][output + o] = C::SumParts(block.sums[o][r]);
    }
  }
}

// A MatMulFn.
template <class C, class W>
void FloatMatMul(const MatMulArgs& args) {
  if (args.n_rows >= kFewFloatRows) {
    const int64_t blocks = (args.n_rows + kBlockRows - 1) / kBlockRows;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t first = args.n_rows * b / blocks;
      FloatBlockMatMul<C, W>(args, first, static_cast<int>(args.n_rows * (b + 1) / blocks - first));
    }
    return;
  }
  int64_t row = 0;
  for (; row + C::kTileRows <= args.n_rows; row += C::kTileRows) {
    FloatRows<C, W, C::kTileOutputs, C::kTileRows>(args, row);
  }
  for (; row < args.n_rows; ++row) FloatRows<C, W, C::kOutputsOfOneRow, 1>(args, row);
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_FLOAT_PRODUCTS_H_
