// Products of block-quantised weights: panels of outputs, one output per lane.
//
// A panel is one block (or eight blocks of 32) of V::kLanes outputs, transposed
// so that a register holds four consecutive codes of every output. Decoding is
// then the same bit operations in all lanes, each activation dword is broadcast
// from memory, integer sums need no horizontal step, and the float chain of an
// output is a lane. A panel is decoded once, into the first-level cache, for up
// to kChunkRows rows.
//
// V is the vocabulary of an instruction set (Avx512, Avx2); its kStreamedRowBytes is the
// length from which rows of weights are left to the prefetchers of the CPU, which then
// find them: asking beside them takes line buffers away from them. F is a weight format:
//   kBytes         of a block
//   kMaxCode       the largest code as stored in the panel, which is unsigned
//   kOffset        what the stored code exceeds the true one by
//   kWide          codes are int8 of full range: stored as V::Products wants them
//   kMinimums      the format has minimums
// and, for blocks of 32, Decode(); for blocks of 256
//   kGroupDwords   dwords that share a sub-scale: 4 or 8
//   kParts         the codes are decoded in as many equal parts
//   DecodeHeader() scales, units, and what the parts have in common
//   DecodePart()   the codes of one part
//   kArranged      whether Arrange() puts activations in the order of the codes
//   kFactors       whether activations have a factor for each 32 codes
// and what only one row asks about:
//   kStarts        sums start where the offset takes them, by V::SetStarts
//   kPartScales    scales are decoded part by part, by DecodeScales() after DecodeFields(), which
//                  leaves them out of DecodeHeader()
//   kPairScales    each pair of codes has a sub-scale, the one in its word of sum_pairs
//   kNibbleFactor  what a code counts, 1 or 2, where codes are nibbles: those of odd dwords stand
//                  in the upper ones; 0 where they are bytes
// Included once by each file of an instruction set; internal
// linkage, see compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_PANEL_H_
#define SLUICE_COMPUTE_SIMD_PANEL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "compute/activations.h"
#include "compute/kernel_set.h"
#include "compute/simd_common.h"

namespace sluice {
namespace {

constexpr int kCodeDwords = 64;  // of 256 codes
constexpr int kChunkRows = 64;   // rows that share one decoding

// How far apart in a panel lie fields that are neighbours in a block. More than 1 where
// outputs are interleaved, block by block and dword by dword (compute/interleave.h).
template <class V>
constexpr int kFieldSpread = 1;

// The field `offset` bytes behind `field`.
template <class V>
SLUICE_INLINE const uint8_t* FieldAt(const uint8_t* field, int offset) {
  return field + offset * kFieldSpread<V>;
}

// Undecoded bytes of a block that several parts need.
template <class V>
struct CommonBytes {
  using Type = typename V::Int[27];
};

// All of a block of 256 but its codes.
template <class V>
struct Header256 {
  typename V::Int scales[16];    // by group, in the form that V::Products wants
  typename V::Int sum_pairs[8];  // int16 multipliers of group_sums[2 * i] and [2 * i + 1]
  typename CommonBytes<V>::Type common;
  typename V::Float unit;
  typename V::Float min_unit;
};

template <class V>
struct Panel256 {
  static constexpr int kElements = 256;
  static constexpr int kBlocks = 1;  // that lie in one panel
  using Activations = Q8Block256;

  typename V::Int codes[kCodeDwords];
  Header256<V> header;
};

template <class V>
struct Panel32 {
  static constexpr int kElements = 32;
  static constexpr int kBlocks = 8;
  using Activations = Q8Block32x8;

  typename V::Int codes[8][8];
  typename V::Float unit[8];
  typename V::Float min_unit[8];
};

// The float sums of one row and kLanes outputs.
template <class V>
struct Chains {
  typename V::Float main;
  typename V::Float minimum;
};

// As many blocks of every output of a panel as are taken at once.
struct Slice {
  const uint8_t* bytes;
  size_t stride;
  int64_t index;  // of the activation block they meet
  int blocks;
  const uint8_t* ahead;  // what is fetched meanwhile; null for nothing

  // Asks for part number `part` of kParts of what comes next, so that requests come
  // evenly. The outputs of a panel lie one behind the other, so the next panel is one
  // piece of memory and is fetched in its order. By rows, as it will be decoded, the
  // streams are too short: with rows of 1,152 bytes one row of q4_K took 1.3 to 1.5
  // times as long (AVX2). Behind the end of the matrix, where most often another one
  // begins, this does no harm. Long rows are left alone: with rows of 4,032 bytes one
  // row of q4_K takes 0.94 of what can be read instead of 0.80 (AVX-512).
  template <int kPartBytes>
  SLUICE_INLINE void FetchAhead(int part) const {
    if (ahead == nullptr) return;
    SLUICE_UNROLL
    for (int i = 0; i < kPartBytes; i += 64) __builtin_prefetch(ahead + part * kPartBytes + i, 0, 2);
  }
};

template <class V, class F>
using ProductsOf = typename V::template Products<F::kWide ? 255 : F::kMaxCode, F::kWide>;
template <class V, class F>
constexpr int kOffsetOf = F::kWide ? V::kWideBias : F::kOffset;

// The sub-scale of group g as the activations of a block meet it.
template <class V, class F>
SLUICE_INLINE typename V::Int ScaleFor(const Q8Block256& block, const typename V::Int* scales, int g) {
  if constexpr (F::kFactors) return ProductsOf<V, F>::Times(scales[g], block.factors[g * F::kGroupDwords / 8]);
  return scales[g];
}

// Adds to the integer sums of R rows what group g contributes, sub-scale and
// factors included, offsets not.
template <class V, class F, int R>
SLUICE_INLINE void AddScaledSums(const Panel256<V>& panel, int g, const Q8Block256* const (&blocks)[R],
                                 const int8_t* const (&values)[R], typename V::Int (&sums)[R]) {
  using Products = ProductsOf<V, F>;
  constexpr int kStep = Products::StepDwords(F::kGroupDwords);
  typename V::Int scales[R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) scales[r] = ScaleFor<V, F>(*blocks[r], panel.header.scales, g);
  SLUICE_UNROLL
  for (int first = 0; first < F::kGroupDwords; first += kStep) {
    typename V::Int parts[R];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) parts[r] = V::Set1(0);
    SLUICE_UNROLL
    for (int i = first; i < first + kStep; ++i) {
      const int k = g * F::kGroupDwords + i;
      SLUICE_UNROLL
      for (int r = 0; r < R; ++r) parts[r] = Products::Dot(parts[r], panel.codes[k], V::Broadcast(values[r] + 4 * k));
    }
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = Products::AddScaled(sums[r], parts[r], scales[r]);
  }
}

template <class V>
SLUICE_INLINE typename V::Int GroupSums(const Header256<V>& header, const Q8Block256& block) {
  typename V::Int sum = V::Set1(0);
  SLUICE_UNROLL
  for (int i = 0; i < 8; ++i) sum = V::MaddPairs(sum, header.sum_pairs[i], V::Broadcast(block.group_sums + 2 * i));
  return sum;
}

// What the integer sum of one row and unit exceeds the true one by.
template <class V, class F>
SLUICE_INLINE typename V::Int OffsetSum(const Header256<V>& header, const Q8Block256& block) {
  if constexpr (kOffsetOf<V, F> == 1) return GroupSums<V>(header, block);
  return V::Mul(GroupSums<V>(header, block), V::Set1(kOffsetOf<V, F>));
}

// Where that sum, its offset taken off, enters the float chains.
template <class V, class F>
SLUICE_INLINE void ContinueChain(const Header256<V>& header, const Q8Block256& block, typename V::Int sum,
                                 Chains<V>* chains) {
  const typename V::Float scale = V::BroadcastFloat(&block.scale);
  if constexpr (F::kMinimums) {
    const typename V::Float minimum = V::ToFloat(GroupSums<V>(header, block));
    chains->minimum = V::Fma(V::MulFloat(header.min_unit, scale), minimum, chains->minimum);
  }
  chains->main = V::Fma(V::MulFloat(header.unit, scale), V::ToFloat(sum), chains->main);
}

// The activations of a block in the order of the codes; `space` is for those of
// formats that have an order of their own.
template <class F>
SLUICE_INLINE const int8_t* ValuesOf(const Q8Block256& block, int8_t* space) {
  if constexpr (F::kArranged) {
    F::Arrange(block.values, space);
    return space;
  }
  return block.values;
}

template <class V, class F, int R>
void ContinueChains(const Panel256<V>& panel, const Slice& slice, const void* const* rows, Chains<V>* chains) {
  const Q8Block256* blocks[R];
  const int8_t* values[R];
  alignas(64) int8_t space[R][256];
  typename V::Int sums[R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    blocks[r] = static_cast<const Q8Block256*>(rows[r]) + slice.index;
    values[r] = ValuesOf<F>(*blocks[r], space[r]);
    sums[r] = V::Set1(0);
  }
  for (int g = 0; g < kCodeDwords / F::kGroupDwords; ++g) AddScaledSums<V, F, R>(panel, g, blocks, values, sums);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    if constexpr (kOffsetOf<V, F> != 0) sums[r] = V::Sub(sums[r], OffsetSum<V, F>(panel.header, *blocks[r]));
    ContinueChain<V, F>(panel.header, *blocks[r], sums[r], &chains[r]);
  }
}

// One block of 32.
template <class V, class F, int R>
SLUICE_INLINE void PlainSums(const typename V::Int (&codes)[8], const Q8Block32x8* const (&packs)[R], int block,
                             typename V::Int (&sums)[R]) {
  using Products = ProductsOf<V, F>;
  constexpr int kStep = Products::StepDwords(8);
  for (int r = 0; r < R; ++r) sums[r] = V::Set1(0);
  SLUICE_UNROLL
  for (int first = 0; first < 8; first += kStep) {
    typename V::Int parts[R];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) parts[r] = V::Set1(0);
    SLUICE_UNROLL
    for (int k = first; k < first + kStep; ++k) {
      SLUICE_UNROLL
      for (int r = 0; r < R; ++r) {
        parts[r] = Products::Dot(parts[r], codes[k], V::Broadcast(packs[r]->values[block] + 4 * k));
      }
    }
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = Products::AddPlain(sums[r], parts[r]);
  }
}

template <class V, class F>
SLUICE_INLINE void ContinueChain(typename V::Float unit, typename V::Float min_unit, const Q8Block32x8& pack, int block,
                                 typename V::Int sum, Chains<V>* chains) {
  const typename V::Float scale = V::BroadcastFloat(&pack.scales[block]);
  const typename V::Int values_sum = V::Broadcast(&pack.sums[block]);
  if constexpr (kOffsetOf<V, F> != 0) sum = V::MaddPairs(sum, values_sum, V::Set1(-kOffsetOf<V, F> & 0xffff));
  chains->main = V::Fma(V::MulFloat(unit, scale), V::ToFloat(sum), chains->main);
  if constexpr (F::kMinimums) {
    chains->minimum = V::Fma(V::MulFloat(min_unit, scale), V::ToFloat(values_sum), chains->minimum);
  }
}

template <class V, class F, int R>
void ContinueChains(const Panel32<V>& panel, const Slice& slice, const void* const* rows, Chains<V>* chains) {
  const Q8Block32x8* packs[R];
  for (int r = 0; r < R; ++r) packs[r] = static_cast<const Q8Block32x8*>(rows[r]) + slice.index;
  for (int b = 0; b < slice.blocks; ++b) {
    typename V::Int sums[R];
    PlainSums<V, F, R>(panel.codes[b], packs, b, sums);
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      ContinueChain<V, F>(panel.unit[b], panel.min_unit[b], *packs[r], b, sums[r], &chains[r]);
    }
  }
}

// Codes of one part, asking for its share of what comes next.
template <class V, class F, int kPart>
SLUICE_INLINE void DecodeOnePart(const Slice& slice, const Header256<V>& header, typename V::Int* codes) {
  slice.template FetchAhead<V::kLanes * F::kBytes / F::kParts>(kPart);
  F::template DecodePart<V, kPart>(slice.bytes, slice.stride, header.common, codes);
}

template <class V, class F, int kPart>
SLUICE_INLINE void DecodeParts(const Slice& slice, const Header256<V>& header, typename V::Int* codes) {
  DecodeOnePart<V, F, kPart>(slice, header, codes + kPart * (kCodeDwords / F::kParts));
  if constexpr (kPart + 1 < F::kParts) DecodeParts<V, F, kPart + 1>(slice, header, codes);
}

template <class V, class F>
void DecodeSlice(const Slice& slice, Panel256<V>* panel) {
  F::template DecodeHeader<V>(slice.bytes, slice.stride, &panel->header);
  DecodeParts<V, F, 0>(slice, panel->header, panel->codes);
}

template <class V, class F>
void DecodeSlice(const Slice& slice, Panel32<V>* panel) {
  for (int b = 0; b < slice.blocks; ++b) {
    slice.template FetchAhead<V::kLanes * F::kBytes>(b);
    F::template Decode<V>(slice.bytes + b * F::kBytes, slice.stride, panel->codes[b], &panel->unit[b],
                          &panel->min_unit[b]);
  }
}

// What one row brings to the products of a block.
struct RowBlock {
  const Q8Block256* block;
  const int8_t* values;   // in the order of the codes
  const int32_t* starts;  // of groups, where F::kStarts
};

// The sum of a step's chains.
template <class V, class F, int kChains>
SLUICE_INLINE typename V::Int TotalOf(const typename V::Int (&chains)[kChains]) {
  if constexpr (kChains == 1) {
    return chains[0];
  } else if constexpr (F::kNibbleFactor == 0) {
    return V::Add(chains[0], chains[1]);
  } else if constexpr (F::kNibbleFactor == 1) {
    return V::Add(chains[0], V::template ShiftRightSigned<4>(chains[1]));
  } else {
    return V::Add(V::Add(chains[0], chains[0]), V::template ShiftRightSigned<3>(chains[1]));
  }
}

// AddScaledSums of one row and kDwords dwords, sub-scales from `first_group` on, with
// all steps side by side: nothing else hides the latency of their chains. A step that is
// alone is two chains (iq2_xxs takes 10 % longer with one).
template <class V, class F, int kDwords>
SLUICE_INLINE typename V::Int AddScaledSum(const typename V::Int* codes, const typename V::Int* scales, int first_group,
                                           const RowBlock& row, const int8_t* values, typename V::Int sum) {
  using Products = ProductsOf<V, F>;
  constexpr int kStep = Products::StepDwords(F::kGroupDwords);
  constexpr int kSteps = kDwords / kStep;
  constexpr int kChains = kSteps == 1 ? 2 : 1;
  static_assert(!F::kStarts || kStep == F::kGroupDwords);
  static_assert(F::kNibbleFactor == 0 || kChains == 2);
  typename V::Int parts[kSteps][kChains];
  SLUICE_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    SLUICE_UNROLL
    for (int c = 0; c < kChains; ++c) parts[s][c] = V::Set1(0);
    if constexpr (F::kStarts) parts[s][kChains - 1] = V::Broadcast(row.starts + first_group + s);
  }
  SLUICE_UNROLL
  for (int k = 0; k < kStep; ++k) {
    SLUICE_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      typename V::Int& part = parts[s][k % kChains];
      part = Products::Dot(part, codes[s * kStep + k], V::Broadcast(values + 4 * (s * kStep + k)));
    }
  }
  SLUICE_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    const typename V::Int scale = ScaleFor<V, F>(*row.block, scales, first_group + s * kStep / F::kGroupDwords);
    sum = Products::AddScaled(sum, TotalOf<V, F>(parts[s]), scale);
  }
  return sum;
}

// The same for pairs of codes with sub-scales of their own.
template <class V, int kDwords>
SLUICE_INLINE typename V::Int AddPairSums(const typename V::Int* codes, typename V::Int scales, const int8_t* values,
                                          typename V::Int sum) {
  typename V::Int sums[2] = {sum, V::Set1(0)};
  SLUICE_UNROLL
  for (int k = 0; k < kDwords; ++k) {
    sums[k % 2] = V::MaddPairs(sums[k % 2], V::MaddBytes(codes[k], V::Broadcast(values + 4 * k)), scales);
  }
  return V::Add(sums[0], sums[1]);
}

// Adds the products of one part.
template <class V, class F, int kPart>
SLUICE_INLINE void AddPart(const RowBlock& row, const typename V::Int* codes, Header256<V>* header,
                           typename V::Int* sum) {
  constexpr int kDwords = kCodeDwords / F::kParts;
  const int8_t* values = row.values + 4 * kPart * kDwords;
  if constexpr (F::kPartScales) F::template DecodeScales<V, kPart>(header);
  if constexpr (F::kPairScales) {
    *sum = AddPairSums<V, kDwords>(codes, header->sum_pairs[kPart], values, *sum);
  } else {
    constexpr int kFirstGroup = kPart * kDwords / F::kGroupDwords;
    *sum = AddScaledSum<V, F, kDwords>(codes, header->scales, kFirstGroup, row, values, *sum);
  }
}

// One row: codes are used as they are decoded and go into no panel. Small parts are
// decoded one ahead: the CPU looks about two parts ahead, too few to find work beside
// the chain from an index to a sum (iq2_xs takes 10 % longer otherwise).
template <class V, class F, int kPart>
SLUICE_INLINE void AddParts(const Slice& slice, const RowBlock& row, const typename V::Int* codes, Header256<V>* header,
                            typename V::Int* sum) {
  typename V::Int next[kCodeDwords / F::kParts];
  if constexpr (kCodeDwords / F::kParts > 8) {
    DecodeOnePart<V, F, kPart>(slice, *header, next);
    AddPart<V, F, kPart>(row, next, header, sum);
  } else {
    if constexpr (kPart + 1 < F::kParts) DecodeOnePart<V, F, kPart + 1>(slice, *header, next);
    AddPart<V, F, kPart>(row, codes, header, sum);
  }
  if constexpr (kPart + 1 < F::kParts) AddParts<V, F, kPart + 1>(slice, row, next, header, sum);
}

template <class V, class F>
SLUICE_INLINE void OneRow(const Slice& slice, const Q8Block256* row, Chains<V>* chains) {
  Header256<V> header;
  if constexpr (F::kPartScales) {
    F::template DecodeFields<V>(slice.bytes, slice.stride, &header);
  } else {
    F::template DecodeHeader<V>(slice.bytes, slice.stride, &header);
  }
  alignas(64) int8_t space[256];
  alignas(64) int32_t starts[16];
  const Q8Block256& block = row[slice.index];
  if constexpr (F::kStarts) {
    constexpr int kHigh = F::kNibbleFactor == 0 ? 1 : 16 / F::kNibbleFactor;  // starts are those of the second chain
    V::template SetStarts<F::kGroupDwords>(block.group_sums, -kHigh * kOffsetOf<V, F>, starts);
  }
  typename V::Int sum = V::Set1(0);
  typename V::Int codes[kCodeDwords / F::kParts];
  if constexpr (kCodeDwords / F::kParts <= 8) DecodeOnePart<V, F, 0>(slice, header, codes);
  AddParts<V, F, 0>(slice, {&block, ValuesOf<F>(block, space), starts}, codes, &header, &sum);
  if constexpr (kOffsetOf<V, F> != 0 && !F::kStarts) sum = V::Sub(sum, OffsetSum<V, F>(header, block));
  ContinueChain<V, F>(header, block, sum, chains);
}

template <class V, class F>
SLUICE_INLINE void OneRow(const Slice& slice, const Q8Block32x8* row, Chains<V>* chains) {
  const Q8Block32x8* packs[1] = {row + slice.index};
  for (int b = 0; b < slice.blocks; ++b) {
    slice.template FetchAhead<V::kLanes * F::kBytes>(b);
    typename V::Int codes[8];
    typename V::Float unit, min_unit;
    F::template Decode<V>(slice.bytes + b * F::kBytes, slice.stride, codes, &unit, &min_unit);
    typename V::Int sums[1];
    PlainSums<V, F, 1>(codes, packs, b, sums);
    ContinueChain<V, F>(unit, min_unit, *packs[0], b, sums[0], chains);
  }
}

template <class V, class F, class Panel>
void AllRows(const Slice& slice, const void* const* rows, int n_rows, Panel* panel, Chains<V>* chains) {
  DecodeSlice<V, F>(slice, panel);
  int r = 0;
  for (; r + V::kTileRows <= n_rows; r += V::kTileRows) {
    ContinueChains<V, F, V::kTileRows>(*panel, slice, rows + r, chains + r);
  }
  if constexpr (V::kTileRows > 4) {
    for (; r + 4 <= n_rows; r += 4) ContinueChains<V, F, 4>(*panel, slice, rows + r, chains + r);
  }
  for (; r + 2 <= n_rows; r += 2) ContinueChains<V, F, 2>(*panel, slice, rows + r, chains + r);
  if (r < n_rows) ContinueChains<V, F, 1>(*panel, slice, rows + r, chains + r);
}

// Where the weights of a panel's outputs lie.
struct PanelSource {
  const uint8_t* bytes;
  size_t stride;
  int64_t blocks;  // of a row

  // From block number `first` on.
  template <class V, class F, class Panel>
  SLUICE_INLINE Slice SliceAt(int64_t first) const {
    const uint8_t* from = bytes + first * F::kBytes * kFieldSpread<V>;
    const int taken = static_cast<int>(blocks - first < Panel::kBlocks ? blocks - first : Panel::kBlocks);
    const uint8_t* next = bytes + V::kLanes * stride + V::kLanes * first * F::kBytes;
    const uint8_t* ahead = stride < V::kStreamedRowBytes ? next : nullptr;
    return {from, stride, first / Panel::kBlocks, taken, ahead};
  }
};

// All blocks of one panel for a chunk of rows.
template <class V, class F, class Panel>
void RunPanel(const PanelSource& source, const void* const* rows, int n_rows, Chains<V>* chains) {
  for (int r = 0; r < n_rows; ++r) chains[r].main = chains[r].minimum = V::ZeroFloat();
  Panel panel;
  for (int64_t first = 0; first < source.blocks; first += Panel::kBlocks) {
    AllRows<V, F>(source.SliceAt<V, F, Panel>(first), rows, n_rows, &panel, chains);
  }
}

// What one row takes a format as, where that is not how several rows do.
template <class F>
struct OneRowFormat {
  using Type = F;
};

template <class V, class F, class Panel>
void RunOneRow(const PanelSource& source, const void* row, Chains<V>* result) {
  const auto* activations = static_cast<const typename Panel::Activations*>(row);
  Chains<V> chains = {V::ZeroFloat(), V::ZeroFloat()};
  for (int64_t first = 0; first < source.blocks; first += Panel::kBlocks) {
    OneRow<V, typename OneRowFormat<F>::Type>(source.SliceAt<V, F, Panel>(first), activations, &chains);
  }
  *result = chains;
}

template <class V, class F>
typename V::Float Finish(const Chains<V>& chains) {
  if constexpr (F::kMinimums) return V::AddFloat(chains.main, chains.minimum);
  return chains.main;
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

// At least kLanes outputs; the last panel overlaps the one before it, so that
// it is full, and stores the same bits again.
template <class V, class F, class Panel>
void ChunkMatMul(const MatMulArgs& args, PanelSource source, int64_t first_row, int n_rows) {
  Chains<V> chains[kChunkRows];
  const uint8_t* weights = source.bytes;
  for (int64_t output = 0; output < args.n_out; output += V::kLanes) {
    const int64_t first = output + V::kLanes <= args.n_out ? output : args.n_out - V::kLanes;
    source.bytes = weights + first * source.stride;
    if (n_rows == 1) {
      RunOneRow<V, F, Panel>(source, args.activations[first_row], chains);
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

#endif  // SLUICE_COMPUTE_SIMD_PANEL_H_
