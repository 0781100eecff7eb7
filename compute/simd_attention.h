// What attention is made of (AttentionOps of compute/kernel_set.h), on the
// vocabulary C of compute/simd_floats.h.
//
// Lanes are columns, so a chain never crosses lanes and nothing is summed
// sideways: scores are computed as [keys][queries] from keys as they lie in
// the cache, and the softmax of a query runs down a lane.
#ifndef SLUICE_COMPUTE_SIMD_ATTENTION_H_
#define SLUICE_COMPUTE_SIMD_ATTENTION_H_

#include <cstdint>

#include "compute/kernel_set.h"
#include "compute/simd_floats.h"

namespace sluice {
namespace {

// Registers of a vocabulary hold kTileValues columns of sixteen by rows so many
// that all chains of a tile and one row of b stay in registers.
template <class C>
constexpr int kTileValues = C::kParts == 1 ? 4 : 1;
template <class C>
constexpr int kRowsPerTile = C::kParts == 1 ? 6 : (C::kParts == 2 ? 5 : 4);

// Sixteen columns, or with kRagged the first `count` of them.
template <class C, bool kRagged>
SLUICE_INLINE typename C::Value LoadColumns(const float* from, int64_t count) {
  if constexpr (kRagged) {
    return LoadFirst<C>(from, count);
  } else {
    return C::Load(from);
  }
}
template <class C, bool kRagged>
SLUICE_INLINE void StoreColumns(float* to, int64_t count, typename C::Value a) {
  if constexpr (kRagged) {
    StoreFirst<C>(to, count, a);
  } else {
    C::Store(to, a);
  }
}

// Rows of b that are gone through by all rows of a before the next: with 64
// columns they are 24 KB and stay in the first-level cache.
constexpr int64_t kDepthBlock = 96;

// R rows by kValues vectors.
template <class C, int R, int kValues, bool kRagged>
void ProductTile(const AddProductArgs& args, int64_t row, int64_t column) {
  const int64_t columns = args.columns - column;
  float* out = args.out + row * args.out_stride + column;
  typename C::Value sums[R][kValues];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    SLUICE_UNROLL
    for (int v = 0; v < kValues; ++v)
      sums[r][v] = LoadColumns<C, kRagged>(out + r * args.out_stride + v * kChains, columns);
  }
  const float* a = args.a + row * args.a_row;
  const float* b = args.b + column;
  for (int64_t k = 0; k < args.depth; ++k, a += args.a_depth, b += args.b_stride) {
    typename C::Value x[kValues];
    SLUICE_UNROLL
    for (int v = 0; v < kValues; ++v) x[v] = LoadColumns<C, kRagged>(b + v * kChains, columns);
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const typename C::Value factor = C::Set1(a[r * args.a_row]);
      SLUICE_UNROLL
      for (int v = 0; v < kValues; ++v) sums[r][v] = C::Fma(factor, x[v], sums[r][v]);
    }
  }
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    SLUICE_UNROLL
    for (int v = 0; v < kValues; ++v)
      StoreColumns<C, kRagged>(out + r * args.out_stride + v * kChains, columns, sums[r][v]);
  }
}

// All rows of kValues vectors; few vectors leave registers for more rows.
template <class C, int kValues, bool kRagged = false>
void ProductColumns(const AddProductArgs& args, int64_t column) {
  constexpr int kRows = kRowsPerTile<C> * kTileValues<C> / kValues;
  constexpr int kMany = kRows > 12 ? 12 : kRows;
  int64_t row = 0;
  for (; row + kMany <= args.rows; row += kMany) ProductTile<C, kMany, kValues, kRagged>(args, row, column);
  if constexpr (kMany > 4) {
    for (; row + 4 <= args.rows; row += 4) ProductTile<C, 4, kValues, kRagged>(args, row, column);
  }
  if constexpr (kMany > 2) {
    for (; row + 2 <= args.rows; row += 2) ProductTile<C, 2, kValues, kRagged>(args, row, column);
  }
  for (; row < args.rows; ++row) ProductTile<C, 1, kValues, kRagged>(args, row, column);
}

template <class C>
void ProductOfDepth(const AddProductArgs& args) {
  int64_t column = 0;
  if constexpr (kTileValues < C >> 1) {
    for (; column + 4 * kChains <= args.columns; column += 4 * kChains) ProductColumns<C, 4>(args, column);
    for (; column + 2 * kChains <= args.columns; column += 2 * kChains) ProductColumns<C, 2>(args, column);
  }
  for (; column + kChains <= args.columns; column += kChains) ProductColumns<C, 1>(args, column);
  if (column < args.columns) ProductColumns<C, 1, true>(args, column);
}

template <class C>
void AddProduct(const AddProductArgs& args) {
  AddProductArgs part = args;
  for (int64_t depth = args.depth; depth > 0; depth -= part.depth) {
    part.depth = depth < kDepthBlock ? depth : kDepthBlock;
    ProductOfDepth<C>(part);
    part.a += part.depth * part.a_depth;
    part.b += part.depth * part.b_stride;
  }
}

template <class C, bool kRagged>
void SoftmaxColumns(const SoftmaxStepArgs& args, int64_t column) {
  const int64_t count = args.columns - column;
  float* scores = args.scores + column;
  const typename C::Value before = LoadColumns<C, kRagged>(args.maxima + column, count);
  typename C::Value max = before;
  for (int64_t k = 0; k < args.keys; ++k) {
    const typename C::Value score = LoadColumns<C, kRagged>(scores + k * args.stride, count);
    max = C::Select(C::Less(max, score), score, max);
  }
  const typename C::Value correction = Exp<C>(C::Sub(before, max));
  typename C::Value sum = C::Mul(LoadColumns<C, kRagged>(args.sums + column, count), correction);
  for (int64_t k = 0; k < args.keys; ++k) {
    const typename C::Value y = Exp<C>(C::Sub(LoadColumns<C, kRagged>(scores + k * args.stride, count), max));
    StoreColumns<C, kRagged>(scores + k * args.stride, count, y);
    sum = C::Add(sum, y);
  }
  StoreColumns<C, kRagged>(args.corrections + column, count, correction);
  StoreColumns<C, kRagged>(args.maxima + column, count, max);
  StoreColumns<C, kRagged>(args.sums + column, count, sum);
}

template <class C>
void SoftmaxStep(const SoftmaxStepArgs& args) {
  int64_t column = 0;
  for (; column + kChains <= args.columns; column += kChains) SoftmaxColumns<C, false>(args, column);
  if (column < args.columns) SoftmaxColumns<C, true>(args, column);
}

template <class C>
void FillAttentionOps(KernelSet* set) {
  set->attention = {AddProduct<C>, SoftmaxStep<C>};
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_ATTENTION_H_
