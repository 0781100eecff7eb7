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
// and what only one row asks about (compute/simd_one_row.h):
//   kSideBySide    two panels at once
//   kStarts        sums start where the offset takes them, by V::SetStarts
//   kPartScales    scales are decoded part by part, by DecodeScales() after DecodeFields(), which
//                  leaves them out of DecodeHeader()
//   kPairScales    each pair of codes has a sub-scale, the one in its word of sum_pairs
//   kQuadPairs     and codes count 2, where those of dwords 2 and 3 of each four stand two bits higher
//   kSumWords      sum_pairs has the multipliers of a part's sum and of its sum of activations
//   kNibbleFactor  what a code counts, 1 or 2, where codes are nibbles: those of odd dwords stand
//                  in the upper ones; 0 where they are bytes
// Included once by each file of an instruction set; internal
// linkage, see compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_PANEL_H_
#define SLUICE_COMPUTE_SIMD_PANEL_H_

#include <cstddef>
#include <cstdint>

#include "compute/activations.h"
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
  // Asks the nearest cache, too, for part number `part` of the next block of interleaved outputs: one row of those
  // takes 0.94 to 1 of the time from memory. Alone it would not do: 1.05 to 1.9 times as long.
  template <int kPartBytes, int kParts>
  SLUICE_INLINE void FetchNear(int part) const {
    SLUICE_UNROLL
    for (int i = 0; i < kPartBytes; i += 64) __builtin_prefetch(bytes + (kParts + part) * kPartBytes + i, 0, 3);
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

template <class V, class F>
typename V::Float Finish(const Chains<V>& chains) {
  if constexpr (F::kMinimums) return V::AddFloat(chains.main, chains.minimum);
  return chains.main;
}

// Where the weights of a panel's outputs lie.
struct PanelSource {
  const uint8_t* bytes;
  size_t stride;
  int64_t blocks;  // of a row

  // From block number `first` on, of panel number `panel` of so many that are taken together.
  template <class V, class F, class Panel>
  SLUICE_INLINE Slice SliceAt(int64_t first, int panel = 0, int panels = 1) const {
    const size_t panel_bytes = V::kLanes * stride;
    const uint8_t* from = bytes + panel * panel_bytes + first * F::kBytes * kFieldSpread<V>;
    const int taken = static_cast<int>(blocks - first < Panel::kBlocks ? blocks - first : Panel::kBlocks);
    const uint8_t* next = bytes + (panel + panels) * panel_bytes + V::kLanes * first * F::kBytes;
    const uint8_t* ahead = stride < V::kStreamedRowBytes ? next : nullptr;
    return {from, stride, first / Panel::kBlocks, taken, ahead};
  }
};

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_PANEL_H_
