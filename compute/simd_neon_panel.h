// Products of block-quantised weights with NEON: quads of outputs.
//
// The idea is that of compute/simd_panel.h and so are the weight formats: the
// codes of four outputs are transposed, one output per lane, so that integer
// sums need no horizontal step and the float chain of an output is a lane. Two
// things are different. One load brings four dwords of activations, of which
// the dot product takes each by its number, so nothing is broadcast. And with
// many rows four quads take turns at each slice of the activations, which are
// then still in the first-level cache: a quad alone is too narrow for that.
//
// E says how codes meet the activations of many rows:
//   Codes          the vocabulary that decodes weight bytes
//   kRowStep       rows come in multiples of it
//   kScaleForms    registers for the sub-scales of a group
//   Values         the activations of a slice, as AddDots wants them
//   Prepare()      fills them
//   SetScales(), SetCommon()  bring what a header holds into the form of Codes
//   ScaleBytes()   a sub-scale beside each code of register number k
//   AddDots(), AddScaled()    on R registers for R rows; with factors of the rows or none
//   Finish()       makes them one register per row, one output per lane
// DotProducts below is one, MatrixProducts (compute/simd_neon_matrix.h) the other.
#ifndef SLUICE_COMPUTE_SIMD_NEON_PANEL_H_
#define SLUICE_COMPUTE_SIMD_NEON_PANEL_H_

#include <cstddef>
#include <cstdint>

#include "compute/activations.h"
#include "compute/kernel_set.h"
#include "compute/portable.h"
#include "compute/simd_neon_formats.h"

namespace sluice {
namespace {

constexpr int kQuad = Neon::kLanes;  // outputs
constexpr int kPanelQuads = 4;       // that share the activations of a slice
constexpr int kQuadTileRows = 8;

template <class F>
using ActivationsOf = typename F::template Panel<Neon>::Activations;
template <class F>
constexpr int kBlocksOfSlice = F::template Panel<Neon>::kBlocks;

SLUICE_INLINE const int8_t* ValuesOf(const Q8Block256& block) { return block.values; }
SLUICE_INLINE const int8_t* ValuesOf(const Q8Block32x8& pack) { return reinterpret_cast<const int8_t*>(pack.values); }

// Four dwords of codes with sixteen values of each row.
template <int R>
SLUICE_INLINE void DotSixteen(const int32x4_t* codes, const int8x16_t (&values)[R], int32x4_t (&sums)[R]) {
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = vdotq_laneq_s32(sums[r], AsBytes(codes[0]), values[r], 0);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = vdotq_laneq_s32(sums[r], AsBytes(codes[1]), values[r], 1);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = vdotq_laneq_s32(sums[r], AsBytes(codes[2]), values[r], 2);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = vdotq_laneq_s32(sums[r], AsBytes(codes[3]), values[r], 3);
}

// `kDwords` of them, `rows` pointing at the values of the first.
template <int kDwords, int R>
SLUICE_INLINE void DotDwords(const int32x4_t* codes, const int8_t* const (&rows)[R], int32x4_t (&sums)[R]) {
  SLUICE_UNROLL
  for (int k = 0; k < kDwords; k += 4) {
    int8x16_t values[R];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) values[r] = vld1q_s8(rows[r] + 4 * k);
    DotSixteen<R>(codes + k, values, sums);
  }
}

struct DotProducts {
  using Codes = Neon;
  static constexpr int kRowStep = 1;
  static constexpr int kScaleForms = 1;
  struct Values {
    const int8_t* rows[kChunkRows];
  };

  template <class Block>
  static void Prepare(const Block* const* blocks, int n_rows, Values* values) {
    for (int r = 0; r < n_rows; ++r) values->rows[r] = ValuesOf(*blocks[r]);
  }
  template <int kGroups>
  static SLUICE_INLINE void SetScales(const int32x4_t* from, int32x4_t* to) {
    SLUICE_UNROLL
    for (int g = 0; g < kGroups; ++g) to[g] = from[g];
  }
  static void SetCommon(int32x4_t*) {}
  static SLUICE_INLINE int8x16_t ScaleBytes(int32x4_t scale, int) {
    return AsBytes(Neon::ShuffleBytes<0, 0, 0, 0>(scale));
  }

  // From dword `first` of the slice on.
  template <int kDwords, int R>
  static SLUICE_INLINE void AddDots(const int32x4_t* codes, const Values& values, int row, int first,
                                    int32x4_t (&sums)[R]) {
    const int8_t* rows[R];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) rows[r] = values.rows[row + r] + 4 * first;
    DotDwords<kDwords, R>(codes, rows, sums);
  }
  template <int R>
  static SLUICE_INLINE void AddScaled(const int32x4_t* scale, const int32x4_t (&parts)[R], int32x4_t (&sums)[R]) {
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = vmlaq_s32(sums[r], parts[r], scale[0]);
  }
  template <int R>
  static SLUICE_INLINE void AddScaled(const int32x4_t* scale, const int32_t (&factors)[R], const int32x4_t (&parts)[R],
                                      int32x4_t (&sums)[R]) {
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = vmlaq_s32(sums[r], parts[r], vmulq_n_s32(scale[0], factors[r]));
  }
  template <int R>
  static void Finish(int32x4_t (&)[R]) {}
};

// The sums of an activation block's groups as bytes for the dot product:
// 128 * high + low, with low from -64 to 63. Sums of 16 values, or of 32 in the
// lower halves.
struct GroupBytes {
  int8x16_t low;
  int8x16_t high;
};

template <int kGroupDwords>
SLUICE_INLINE GroupBytes SplitGroupSums(const int16_t* group_sums) {
  int16x8_t a = vld1q_s16(group_sums), b = vld1q_s16(group_sums + 8);
  if constexpr (kGroupDwords == 8) {
    a = vpaddq_s16(a, b);
    b = vdupq_n_s16(0);
  }
  GroupBytes bytes;
  bytes.high = vcombine_s8(vrshrn_n_s16(a, 7), vrshrn_n_s16(b, 7));
  bytes.low = vsubq_s8(vcombine_s8(vmovn_s16(a), vmovn_s16(b)), vshlq_n_s8(bytes.high, 7));
  return bytes;
}

// Sums of the groups, each times its multiplier.
template <int kGroupDwords>
SLUICE_INLINE int32x4_t MultipliedGroupSums(const int32x4_t* multipliers, const GroupBytes& bytes) {
  const auto dots = [multipliers](int32x4_t sum, int8x16_t values) SLUICE_INLINE_LAMBDA {
    sum = vdotq_laneq_s32(sum, AsBytes(multipliers[0]), values, 0);
    sum = vdotq_laneq_s32(sum, AsBytes(multipliers[1]), values, 1);
    if constexpr (kGroupDwords == 4) {
      sum = vdotq_laneq_s32(sum, AsBytes(multipliers[2]), values, 2);
      sum = vdotq_laneq_s32(sum, AsBytes(multipliers[3]), values, 3);
    }
    return sum;
  };
  return dots(vshlq_n_s32(dots(vdupq_n_s32(0), bytes.high), 7), bytes.low);
}

// All of a block of 256 but its codes; of four outputs.
struct QuadUnits {
  int32x4_t multipliers[4];  // of group sums, four groups each
  float32x4_t unit;
  float32x4_t min_unit;
};

template <class E>
struct Quad256 {
  int32x4_t codes[kCodeDwords];
  int32x4_t scales[16 * E::kScaleForms];
  QuadUnits units;
};

template <class E>
struct Quad32 {
  int32x4_t codes[8][8];
  float32x4_t unit[8];
  float32x4_t min_unit[8];
};

template <class E, class F>
struct QuadTypes {
  using Quad = Quad256<E>;
};
template <class E, class F>
requires(kBlocksOfSlice<F> == 8) struct QuadTypes<E, F> {
  using Quad = Quad32<E>;
};
template <class E, class F>
using QuadOf = typename QuadTypes<E, F>::Quad;

// What the rows of a chunk bring to one slice.
template <class E, class Block>
struct SliceRows {
  const Block* blocks[kChunkRows];
  GroupBytes group_bytes[kChunkRows];
  typename E::Values values;
};

// As many blocks of the outputs of a quad as meet one activation block.
struct QuadSlice {
  const uint8_t* bytes;
  size_t stride;
  const uint8_t* ahead;  // the same blocks of outputs to come, fetched meanwhile; null for none
  int blocks;

  template <class F>
  SLUICE_INLINE void FetchAhead() const {
    if (ahead == nullptr) return;
    const int length = blocks * F::kBytes;
    for (int lane = 0; lane < kQuad; ++lane) {
      for (int i = 0; i < length; i += 64) __builtin_prefetch(ahead + lane * stride + i, 0, 2);
    }
  }
};

// The outputs of one quad.
struct QuadSource {
  const uint8_t* bytes;
  size_t stride;
  const uint8_t* ahead;
  int64_t blocks;  // of a row

  template <class F>
  SLUICE_INLINE QuadSlice SliceAt(int64_t first) const {
    const int64_t left = blocks - first;
    const int taken = static_cast<int>(left < kBlocksOfSlice<F> ? left : kBlocksOfSlice<F>);
    const int64_t offset = first * F::kBytes;
    return {bytes + offset, stride, ahead == nullptr ? nullptr : ahead + offset, taken};
  }
};

template <class F>
SLUICE_INLINE void SetMultipliers(const Header256<Neon>& header, int32x4_t* multipliers) {
  constexpr int kRegisters = 16 / F::kGroupDwords;
  SLUICE_UNROLL
  for (int i = 0; i < kRegisters; ++i) multipliers[i] = header.sum_pairs[8 / kRegisters * i];
}

template <class F>
SLUICE_INLINE void SetUnits(const Header256<Neon>& header, QuadUnits* units) {
  units->unit = header.unit;
  if constexpr (F::kMinimums) {
    units->min_unit = header.min_unit;
    SetMultipliers<F>(header, units->multipliers);
  }
}

// Where the integer sums of one row and block of 256 enter its float chains.
template <class F>
SLUICE_INLINE void ContinueQuadChain(const QuadUnits& units, const GroupBytes& group_bytes, float scale, int32x4_t sum,
                                     Chains<Neon>* chains) {
  if constexpr (F::kMinimums) {
    const int32x4_t minimum = MultipliedGroupSums<F::kGroupDwords>(units.multipliers, group_bytes);
    chains->minimum = vfmaq_f32(chains->minimum, vmulq_n_f32(units.min_unit, scale), vcvtq_f32_s32(minimum));
  }
  chains->main = vfmaq_f32(chains->main, vmulq_n_f32(units.unit, scale), vcvtq_f32_s32(sum));
}

template <class F>
SLUICE_INLINE void ContinueQuadChain(float32x4_t unit, float32x4_t min_unit, const Q8Block32x8& pack, int block,
                                     int32x4_t sum, Chains<Neon>* chains) {
  const float scale = pack.scales[block];
  chains->main = vfmaq_f32(chains->main, vmulq_n_f32(unit, scale), vcvtq_f32_s32(sum));
  if constexpr (F::kMinimums) {
    const float values_sum = static_cast<float>(pack.sums[block]);
    chains->minimum = vfmaq_n_f32(chains->minimum, vmulq_n_f32(min_unit, scale), values_sum);
  }
}

// For many rows codes become the true ones; one row corrects its sum instead.
template <class F, int kDwords>
SLUICE_INLINE void TakeOffsetOff(int32x4_t* codes) {
  if constexpr (kQuadOffset<F> != 0) {
    SLUICE_UNROLL
    for (int k = 0; k < kDwords; ++k) codes[k] = FromBytes(vsubq_s8(AsBytes(codes[k]), vdupq_n_s8(kQuadOffset<F>)));
  }
}

// Multiplies groups of codes, each with its sub-scale.
template <class E, class F, int kDwords>
SLUICE_INLINE void FoldScales(const int32x4_t* scales, int32x4_t* codes) {
  SLUICE_UNROLL
  for (int k = 0; k < kDwords; ++k) {
    const int32x4_t scale = scales[k / F::kGroupDwords];
    const int32x4_t factor = kFolding<F> == Folding::kNegated ? vnegq_s32(scale) : scale;
    codes[k] = FromBytes(vmulq_s8(AsBytes(codes[k]), E::ScaleBytes(factor, k)));
  }
}

template <class E, class F, int kPart>
SLUICE_INLINE void DecodeQuadParts(const QuadSlice& slice, const Header256<Neon>& header, int32x4_t* codes) {
  constexpr int kDwords = kCodeDwords / F::kParts;
  F::template DecodePart<typename E::Codes, kPart>(slice.bytes, slice.stride, header.common, codes);
  TakeOffsetOff<F, kDwords>(codes);
  if constexpr (kFolding<F> != Folding::kNone) {
    FoldScales<E, F, kDwords>(header.scales + kPart * (kDwords / F::kGroupDwords), codes);
  }
  if constexpr (kPart + 1 < F::kParts) DecodeQuadParts<E, F, kPart + 1>(slice, header, codes + kDwords);
}

template <class E, class F>
void DecodeQuad(const QuadSlice& slice, Quad256<E>* quad) {
  slice.FetchAhead<F>();
  Header256<Neon> header;
  F::template DecodeHeader<Neon>(slice.bytes, slice.stride, &header);
  if constexpr (kFolding<F> == Folding::kNone) {
    E::template SetScales<kCodeDwords / F::kGroupDwords>(header.scales, quad->scales);
  }
  SetUnits<F>(header, &quad->units);
  if constexpr (kHasCommonBytes<F>) E::SetCommon(header.common);
  DecodeQuadParts<E, F, 0>(slice, header, quad->codes);
}

template <class E, class F>
void DecodeQuad(const QuadSlice& slice, Quad32<E>* quad) {
  slice.FetchAhead<F>();
  for (int b = 0; b < slice.blocks; ++b) {
    F::template Decode<typename E::Codes>(slice.bytes + b * F::kBytes, slice.stride, quad->codes[b], &quad->unit[b],
                                          &quad->min_unit[b]);
    TakeOffsetOff<F, 8>(quad->codes[b]);
  }
}

// The integer sums of R rows and a block of 256, sub-scales included.
template <class E, class F, int R>
SLUICE_INLINE void ScaledSums(const Quad256<E>& quad, const SliceRows<E, Q8Block256>& rows, int row,
                              int32x4_t (&sums)[R]) {
  constexpr int kDwords = F::kGroupDwords;
  for (int g = 0; g < kCodeDwords / kDwords; ++g) {
    int32x4_t parts[R];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) parts[r] = vdupq_n_s32(0);
    E::template AddDots<kDwords>(quad.codes + g * kDwords, rows.values, row, g * kDwords, parts);
    const int32x4_t* scale = quad.scales + g * E::kScaleForms;
    if constexpr (F::kFactors) {
      int32_t factors[R];
      SLUICE_UNROLL
      for (int r = 0; r < R; ++r) factors[r] = rows.blocks[row + r]->factors[g * kDwords / 8];
      E::AddScaled(scale, factors, parts, sums);
    } else {
      E::AddScaled(scale, parts, sums);
    }
  }
}
template <class E, class F, int R>
SLUICE_INLINE void FoldedSums(const Quad256<E>& quad, const typename E::Values& values, int row, int32x4_t (&sums)[R]) {
  for (int k = 0; k < kCodeDwords; k += 8) E::template AddDots<8>(quad.codes + k, values, row, k, sums);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = kFolding<F> == Folding::kNegated ? vnegq_s32(sums[r]) : sums[r];
}

template <class E, class F, int R>
void ContinueQuadChains(const Quad256<E>& quad, const SliceRows<E, Q8Block256>& rows, int, int row,
                        Chains<Neon>* chains) {
  int32x4_t sums[R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = vdupq_n_s32(0);
  if constexpr (kFolding<F> == Folding::kNone) {
    ScaledSums<E, F, R>(quad, rows, row, sums);
  } else {
    FoldedSums<E, F, R>(quad, rows.values, row, sums);
  }
  E::Finish(sums);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    ContinueQuadChain<F>(quad.units, rows.group_bytes[row + r], rows.blocks[row + r]->scale, sums[r], &chains[row + r]);
  }
}

template <class E, class F, int R>
void ContinueQuadChains(const Quad32<E>& quad, const SliceRows<E, Q8Block32x8>& rows, int blocks, int row,
                        Chains<Neon>* chains) {
  Chains<Neon> local[R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) local[r] = chains[row + r];
  for (int b = 0; b < blocks; ++b) {
    int32x4_t sums[R];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = vdupq_n_s32(0);
    E::template AddDots<8>(quad.codes[b], rows.values, row, 8 * b, sums);
    E::Finish(sums);
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      ContinueQuadChain<F>(quad.unit[b], quad.min_unit[b], *rows.blocks[row + r], b, sums[r], &local[r]);
    }
  }
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) chains[row + r] = local[r];
}

template <class E, class F, class Block>
void AllQuadRows(const QuadOf<E, F>& quad, const SliceRows<E, Block>& rows, int blocks, int n_rows,
                 Chains<Neon>* chains) {
  int r = 0;
  for (; r + kQuadTileRows <= n_rows; r += kQuadTileRows) {
    ContinueQuadChains<E, F, kQuadTileRows>(quad, rows, blocks, r, chains);
  }
  for (; r + 4 <= n_rows; r += 4) ContinueQuadChains<E, F, 4>(quad, rows, blocks, r, chains);
  for (; r + 2 <= n_rows; r += 2) ContinueQuadChains<E, F, 2>(quad, rows, blocks, r, chains);
  if constexpr (E::kRowStep == 1) {
    if (r < n_rows) ContinueQuadChains<E, F, 1>(quad, rows, blocks, r, chains);
  }
}

// Rows beyond n_rows, up to a multiple of kRowStep, repeat the last.
template <class E, class F, class Block>
void PrepareRows(const void* const* activations, int n_rows, int64_t index, SliceRows<E, Block>* rows) {
  const int filled = (n_rows + E::kRowStep - 1) / E::kRowStep * E::kRowStep;
  for (int r = 0; r < filled; ++r) {
    rows->blocks[r] = static_cast<const Block*>(activations[r < n_rows ? r : n_rows - 1]) + index;
    if constexpr (kBlocksOfSlice<F> == 1 && F::kMinimums) {
      rows->group_bytes[r] = SplitGroupSums<F::kGroupDwords>(rows->blocks[r]->group_sums);
    }
  }
  E::Prepare(rows->blocks, filled, &rows->values);
}

// Up to kPanelQuads quads for a chunk of rows.
template <class E, class F>
void RunQuads(const QuadSource* sources, int quads, const void* const* activations, int n_rows,
              Chains<Neon> (*chains)[kChunkRows]) {
  const int filled = (n_rows + E::kRowStep - 1) / E::kRowStep * E::kRowStep;
  for (int q = 0; q < quads; ++q) {
    for (int r = 0; r < filled; ++r) chains[q][r] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
  }
  SliceRows<E, ActivationsOf<F>> rows;
  QuadOf<E, F> quad;
  for (int64_t first = 0; first < sources[0].blocks; first += kBlocksOfSlice<F>) {
    PrepareRows<E, F>(activations, n_rows, first / kBlocksOfSlice<F>, &rows);
    for (int q = 0; q < quads; ++q) {
      const QuadSlice slice = sources[q].SliceAt<F>(first);
      DecodeQuad<E, F>(slice, &quad);
      AllQuadRows<E, F>(quad, rows, slice.blocks, filled, chains[q]);
    }
  }
}

// One row: codes are used as they are decoded.
template <class F, int kPart>
SLUICE_INLINE void AddQuadParts(const QuadSlice& slice, const Header256<Neon>& header, const Q8Block256& block,
                                int32x4_t* sum) {
  constexpr int kDwords = kCodeDwords / F::kParts;
  constexpr int kGroups = kDwords / F::kGroupDwords;
  int32x4_t codes[kDwords];
  F::template DecodePart<Neon, kPart>(slice.bytes, slice.stride, header.common, codes);
  SLUICE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    int32x4_t parts[1] = {vdupq_n_s32(0)};
    const int first = kPart * kDwords + g * F::kGroupDwords;
    const int8_t* rows[1] = {block.values + 4 * first};
    DotDwords<F::kGroupDwords, 1>(codes + g * F::kGroupDwords, rows, parts);
    int32x4_t scale = header.scales[kPart * kGroups + g];
    if constexpr (F::kFactors) scale = vmulq_n_s32(scale, block.factors[first / 8]);
    *sum = vmlaq_s32(*sum, parts[0], scale);
  }
  if constexpr (kPart + 1 < F::kParts) AddQuadParts<F, kPart + 1>(slice, header, block, sum);
}

template <class F>
SLUICE_INLINE void OneQuadRow(const QuadSlice& slice, const Q8Block256& block, Chains<Neon>* chains) {
  Header256<Neon> header;
  F::template DecodeHeader<Neon>(slice.bytes, slice.stride, &header);
  QuadUnits units;
  SetUnits<F>(header, &units);
  const GroupBytes group_bytes = SplitGroupSums<F::kGroupDwords>(block.group_sums);
  int32x4_t sum = vdupq_n_s32(0);
  if constexpr (kQuadOffset<F> != 0) {
    int32x4_t multipliers[4];
    SetMultipliers<F>(header, multipliers);
    const int32x4_t excess = MultipliedGroupSums<F::kGroupDwords>(multipliers, group_bytes);
    sum = vmulq_s32(excess, vdupq_n_s32(-kQuadOffset<F>));
  }
  AddQuadParts<F, 0>(slice, header, block, &sum);
  ContinueQuadChain<F>(units, group_bytes, block.scale, sum, chains);
}

template <class F>
SLUICE_INLINE void OneQuadRow(const QuadSlice& slice, const Q8Block32x8& pack, Chains<Neon>* chains) {
  for (int b = 0; b < slice.blocks; ++b) {
    int32x4_t codes[8];
    float32x4_t unit, min_unit;
    F::template Decode<Neon>(slice.bytes + b * F::kBytes, slice.stride, codes, &unit, &min_unit);
    int32x4_t sums[1] = {vdupq_n_s32(-kQuadOffset<F> * pack.sums[b])};
    const int8_t* rows[1] = {pack.values[b]};
    DotDwords<8, 1>(codes, rows, sums);
    ContinueQuadChain<F>(unit, min_unit, pack, b, sums[0], chains);
  }
}

template <class F>
void RunQuadOneRow(const QuadSource& source, const void* row, Chains<Neon>* result) {
  const auto* activations = static_cast<const ActivationsOf<F>*>(row);
  Chains<Neon> chains = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
  for (int64_t first = 0; first < source.blocks; first += kBlocksOfSlice<F>) {
    const QuadSlice slice = source.SliceAt<F>(first);
    slice.FetchAhead<F>();
    OneQuadRow<F>(slice, activations[first / kBlocksOfSlice<F>], &chains);
  }
  *result = chains;
}

// Where quads lie in a matrix of at least four outputs. The last one overlaps
// its neighbour, so that it is full, and stores the same bits again.
template <class F>
struct QuadGrid {
  const uint8_t* weights;
  int64_t blocks;
  int64_t n_out;

  int64_t Count() const { return (n_out + kQuad - 1) / kQuad; }
  int64_t FirstOutput(int64_t quad) const { return kQuad * (quad + 1) <= n_out ? kQuad * quad : n_out - kQuad; }
  // `ahead` quads before another one is fetched.
  QuadSource Source(int64_t quad, int64_t ahead) const {
    const size_t stride = static_cast<size_t>(blocks * F::kBytes);
    const int64_t next = quad + ahead;
    return {weights + FirstOutput(quad) * stride, stride,
            next < Count() ? weights + FirstOutput(next) * stride : nullptr, blocks};
  }
};

template <class F>
void QuadOneRowMatMul(const QuadGrid<F>& grid, const void* row, float* output) {
  for (int64_t quad = 0; quad < grid.Count(); ++quad) {
    Chains<Neon> chains;
    RunQuadOneRow<F>(grid.Source(quad, 1), row, &chains);
    Neon::StoreFloat(output + grid.FirstOutput(quad), Finish<Neon, F>(chains));
  }
}

template <class E, class F>
void QuadChunkMatMul(const QuadGrid<F>& grid, const void* const* activations, float* const* outputs, int n_rows) {
  Chains<Neon> chains[kPanelQuads][kChunkRows];
  for (int64_t first = 0; first < grid.Count(); first += kPanelQuads) {
    const int64_t left = grid.Count() - first;
    const int quads = static_cast<int>(left < kPanelQuads ? left : kPanelQuads);
    QuadSource sources[kPanelQuads];
    for (int q = 0; q < quads; ++q) sources[q] = grid.Source(first + q, kPanelQuads);
    RunQuads<E, F>(sources, quads, activations, n_rows, chains);
    for (int q = 0; q < quads; ++q) {
      for (int r = 0; r < n_rows; ++r) {
        Neon::StoreFloat(outputs[r] + grid.FirstOutput(first + q), Finish<Neon, F>(chains[q][r]));
      }
    }
  }
}

// A MatMulFn. Matrices too narrow for a quad are not worth code of their own.
template <class E, class F>
void QuadMatMul(const MatMulArgs& args) {
  if (args.n_out < kQuad) return portable::IntegerMatMul(args);
  constexpr int kElements = F::template Panel<Neon>::kElements;
  const QuadGrid<F> grid = {static_cast<const uint8_t*>(args.weights), args.n_in / kElements, args.n_out};
  for (int64_t first = 0; first < args.n_rows; first += kChunkRows) {
    const int64_t left = args.n_rows - first;
    const int n_rows = static_cast<int>(left < kChunkRows ? left : kChunkRows);
    if (n_rows == 1) {
      QuadOneRowMatMul<F>(grid, args.activations[first], args.outputs[first]);
    } else {
      QuadChunkMatMul<E, F>(grid, args.activations + first, args.outputs + first, n_rows);
    }
  }
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_NEON_PANEL_H_
