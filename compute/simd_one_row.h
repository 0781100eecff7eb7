// One row of activations: codes are multiplied as they are decoded and go into no panel.
//
// The frame is compute/simd_panel.h. What decides is how the chain from an index to a sum is hidden: a CPU looks about
// two parts of a code-book type ahead. So parts of eight dwords are decoded one ahead of their products (up to 9 % less
// time), or two panels go side by side (from memory another 3 to 14 %; gathers are slower that way), and a step that is
// alone is two chains (up to 13 %).
// Linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_ONE_ROW_H_
#define SLUICE_COMPUTE_SIMD_ONE_ROW_H_

#include <cstdint>

#include "compute/activations.h"
#include "compute/simd_common.h"
#include "compute/simd_panel.h"

namespace sluice {
namespace {

// What one row takes a format as, where that is not how several rows do.
template <class F>
struct OneRowFormat {
  using Type = F;
};
template <class F>
constexpr int kPartDwords = kCodeDwords / F::kParts;

// What one row brings to the products of a block.
struct RowBlock {
  const Q8Block256* block;
  const int8_t* values;   // in the order of the codes
  const int32_t* starts;  // of groups, where F::kStarts
};

// P panels of one slice each, and their integer sums.
template <class V, int P>
struct SideBySide {
  Header256<V> headers[P];
  typename V::Int sums[P];
  typename V::Int more[P];  // with kPairScales a second chain of the sum, with kSumWords the sum of multipliers
};

// With kSumWords, a part of 32 codes c of 0 to 2 and its sum of activations S are the words of one register: sum c * a,
// a bias added to keep it positive, and S above it. One product takes them times the multipliers of both, and what
// the bias adds, times the sum of the lower multipliers, goes off at the end.
constexpr int kWordBiasBits = 13;

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

// Adds the scaled sums of part kPart, all of its steps side by side.
template <class V, class F, int kPart, int P>
SLUICE_INLINE void AddScaledPart(const RowBlock& row, const int8_t* values,
                                 const typename V::Int (&codes)[P][kPartDwords<F>], SideBySide<V, P>* panels) {
  using Products = ProductsOf<V, F>;
  constexpr int kFirstGroup = kPart * kPartDwords<F> / F::kGroupDwords;
  constexpr int kStep = Products::StepDwords(F::kGroupDwords);
  constexpr int kSteps = kPartDwords<F> / kStep;
  constexpr int kChains = kSteps == 1 ? 2 : 1;
  constexpr bool kStarts = F::kStarts || F::kSumWords;
  static_assert(!kStarts || kStep == F::kGroupDwords);
  static_assert(F::kNibbleFactor == 0 || kChains == 2);
  typename V::Int parts[P][kSteps][kChains];
  SLUICE_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    SLUICE_UNROLL
    for (int p = 0; p < P; ++p) {
      parts[p][s][0] = V::Set1(0);
      parts[p][s][kChains - 1] = kStarts ? V::Broadcast(row.starts + kFirstGroup + s) : V::Set1(0);
    }
  }
  SLUICE_UNROLL
  for (int k = 0; k < kStep; ++k) {
    SLUICE_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      const typename V::Int value = V::Broadcast(values + 4 * (s * kStep + k));
      SLUICE_UNROLL
      for (int p = 0; p < P; ++p) {
        typename V::Int& part = parts[p][s][k % kChains];
        part = Products::Dot(part, codes[p][s * kStep + k], value);
      }
    }
  }
  SLUICE_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    SLUICE_UNROLL
    for (int p = 0; p < P; ++p) {
      const typename V::Int part = TotalOf<V, F>(parts[p][s]);
      const int group = kFirstGroup + s * kStep / F::kGroupDwords;
      if constexpr (F::kSumWords) {
        const typename V::Int multipliers = panels->headers[p].sum_pairs[group];
        panels->sums[p] = V::MaddPairs(panels->sums[p], part, multipliers);
        panels->more[p] = V::Add(panels->more[p], multipliers);
      } else {
        const typename V::Int scale = ScaleFor<V, F>(*row.block, panels->headers[p].scales, group);
        panels->sums[p] = Products::AddScaled(panels->sums[p], part, scale);
      }
    }
  }
}

// The same for pairs of codes with sub-scales of their own.
template <class V, class F, int kPart, int P, int kDwords>
SLUICE_INLINE void AddPairPart(const int8_t* values, const typename V::Int (&codes)[P][kDwords],
                               SideBySide<V, P>* panels) {
  SLUICE_UNROLL
  for (int k = 0; k < kDwords; ++k) {
    const typename V::Int value = V::Broadcast(values + 4 * k);
    SLUICE_UNROLL
    for (int p = 0; p < P; ++p) {
      const typename V::Int scales = panels->headers[p].sum_pairs[kPart];
      typename V::Int* chains = (F::kQuadPairs ? k / 2 % 2 : k % 2) == 0 ? panels->sums : panels->more;
      chains[p] = V::MaddPairs(chains[p], V::MaddBytes(codes[p][k], value), scales);
    }
  }
}

template <class V, class F, int kPart, int P>
SLUICE_INLINE void DecodePartOfAll(const Slice* slices, const SideBySide<V, P>& panels,
                                   typename V::Int (&codes)[P][kPartDwords<F>]) {
  SLUICE_UNROLL
  for (int p = 0; p < P; ++p) {
    if constexpr (kFieldSpread<V> != 1) {
      slices[p].template FetchNear<V::kLanes * F::kBytes / F::kParts, F::kParts>(kPart);
    }
    DecodeOnePart<V, F, kPart>(slices[p], panels.headers[p], codes[p]);
  }
}

template <class V, class F, int kPart, int P>
SLUICE_INLINE void AddPart(const RowBlock& row, const typename V::Int (&codes)[P][kPartDwords<F>],
                           SideBySide<V, P>* panels) {
  const int8_t* values = row.values + 4 * kPart * kPartDwords<F>;
  if constexpr (F::kPartScales) {
    SLUICE_UNROLL
    for (int p = 0; p < P; ++p) F::template DecodeScales<V, kPart>(&panels->headers[p]);
  }
  if constexpr (F::kPairScales) {
    AddPairPart<V, F, kPart>(values, codes, panels);
  } else {
    AddScaledPart<V, F, kPart>(row, values, codes, panels);
  }
}

template <class F, int P>
constexpr bool kDecodesAhead = P == 1 && kPartDwords<F> <= 8;

// From part kPart on, whose codes are given where they are decoded ahead.
template <class V, class F, int kPart, int P>
SLUICE_INLINE void AddParts(const Slice* slices, const RowBlock& row, typename V::Int (&codes)[P][kPartDwords<F>],
                            SideBySide<V, P>* panels) {
  typename V::Int next[P][kPartDwords<F>];
  if constexpr (kDecodesAhead<F, P>) {
    if constexpr (kPart + 1 < F::kParts) DecodePartOfAll<V, F, kPart + 1>(slices, *panels, next);
  } else {
    DecodePartOfAll<V, F, kPart>(slices, *panels, codes);
  }
  AddPart<V, F, kPart>(row, codes, panels);
  if constexpr (kPart + 1 < F::kParts) AddParts<V, F, kPart + 1>(slices, row, next, panels);
}

// The integer sum of panel `p`, whose parts were all added.
template <class V, class F, int P>
SLUICE_INLINE typename V::Int BlockSum(const SideBySide<V, P>& panels, int p, const Q8Block256& block) {
  typename V::Int sum = panels.sums[p];
  if constexpr (F::kSumWords) {
    const typename V::Int multipliers = V::And(panels.more[p], V::Set1(0xffff));
    return V::Sub(sum, V::template ShiftLeft<kWordBiasBits>(multipliers));
  }
  if constexpr (F::kQuadPairs) {
    sum = V::Add(V::Add(sum, sum), V::template ShiftRightSigned<1>(panels.more[p]));
  } else if constexpr (F::kPairScales) {
    sum = V::Add(sum, panels.more[p]);
  }
  if constexpr (kOffsetOf<V, F> != 0 && !F::kStarts) sum = V::Sub(sum, OffsetSum<V, F>(panels.headers[p], block));
  return sum;
}

template <class V, class F, int P>
SLUICE_INLINE void OneRow(const Slice* slices, const Q8Block256* row, Chains<V>* chains) {
  SideBySide<V, P> panels;
  SLUICE_UNROLL
  for (int p = 0; p < P; ++p) {
    panels.sums[p] = panels.more[p] = V::Set1(0);
    if constexpr (F::kPartScales) {
      F::template DecodeFields<V>(slices[p].bytes, slices[p].stride, &panels.headers[p]);
    } else {
      F::template DecodeHeader<V>(slices[p].bytes, slices[p].stride, &panels.headers[p]);
    }
  }
  alignas(64) int8_t space[256];
  alignas(64) int32_t starts[16];
  const Q8Block256& block = row[slices[0].index];
  if constexpr (F::kStarts) {
    // Starts are those of the last chain.
    constexpr int kHigh = F::kNibbleFactor == 0 ? 1 : 16 >> (F::kNibbleFactor - 1);
    V::template SetStarts<F::kGroupDwords>(block.group_sums, -kHigh * kOffsetOf<V, F>, starts);
  }
  if constexpr (F::kSumWords) {
    V::template SetStarts<F::kGroupDwords>(block.group_sums, 1, starts);
    for (int i = 0; i < F::kParts; ++i) starts[i] = starts[i] * 0x10000 + (1 << kWordBiasBits);
  }
  typename V::Int codes[P][kPartDwords<F>];
  if constexpr (kDecodesAhead<F, P>) DecodePartOfAll<V, F, 0>(slices, panels, codes);
  AddParts<V, F, 0>(slices, {&block, ValuesOf<F>(block, space), starts}, codes, &panels);
  SLUICE_UNROLL
  for (int p = 0; p < P; ++p) {
    const typename V::Int sum = BlockSum<V, F>(panels, p, block);
    ContinueChain<V, F>(panels.headers[p], block, sum, &chains[p]);
  }
}

template <class V, class F, int P>
SLUICE_INLINE void OneRow(const Slice* slices, const Q8Block32x8* row, Chains<V>* chains) {
  static_assert(P == 1);
  const Slice& slice = slices[0];
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

// All blocks of P panels, one behind the other.
template <class V, class F, class Panel, int P>
void RunOneRow(const PanelSource& source, const void* row, Chains<V>* result) {
  const auto* activations = static_cast<const typename Panel::Activations*>(row);
  Chains<V> chains[P];
  SLUICE_UNROLL
  for (int p = 0; p < P; ++p) chains[p].main = chains[p].minimum = V::ZeroFloat();
  for (int64_t first = 0; first < source.blocks; first += Panel::kBlocks) {
    Slice slices[P];
    SLUICE_UNROLL
    for (int p = 0; p < P; ++p) slices[p] = source.template SliceAt<V, F, Panel>(first, p, P);
    OneRow<V, typename OneRowFormat<F>::Type, P>(slices, activations, chains);
  }
  SLUICE_UNROLL
  for (int p = 0; p < P; ++p) result[p] = chains[p];
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_ONE_ROW_H_
