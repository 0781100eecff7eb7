// Products with several rows of activations: tiles of rows and two panels.
//
// Two panels of one slice are decoded into the first-level cache for up to
// kGroupRows rows; a tile keeps the integer sums of R rows and both panels in
// registers. Byte products want one unsigned operand:
//   codes with their offset, activations as they are; what the offset adds, times the
//   sum of a step's activations, the row starts below zero by
//   or codes without, activations + 128, whose excess (128 times the sum of the
//   codes) the panel starts below zero by
// Sub-scales enter the sums as cheaply as the format allows. Where activations have
// factors, a tile holds each sub-scale times each factor, and a row takes its own.
//
// A plan P says how an instruction set takes a format (compute/simd_tiles_avx512.h,
// compute/simd_tiles_avx2.h):
//   F, V           the format, and the vocabulary that decodes its bytes
//   kTileRows, kLeastTileRows  rows of a tile, at most and at least
//   kPairs         of panels, decoded together
//   kFewRows       up to here the cost of decoding decides: one panel at a time
//   kRowStarts, kPanelStarts  codes have an offset and rows start by it, or panels, see above
//   Dot()          adds products to a part
//   SetStarts()    with kRowStarts: where the parts of a row start, by step or by block of 32
// for blocks of 32
//   Finish()       with kPanelStarts: makes of decoded codes what Dot wants and what the part starts from
//   Total()        the int32 sum of a part
// for blocks of 256, whose parts are steps of some dwords
//   kStep, AddStep<kHarsh>()  the dwords of a step, and how it enters the sum
//   kHasHarsh, HarshGroups()  steps of large activations are added in a slower way; a bit for each group of
//                  16 that is part of one
//   kFolded        sub-scales are in the codes: all of a block is one part
//   Finish()       makes of decoded codes and a header what steps want
//
// Linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_TILES_H_
#define SLUICE_COMPUTE_SIMD_TILES_H_

#include <immintrin.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "compute/activations.h"
#include "compute/kernel_set.h"
#include "compute/simd_common.h"
#include "compute/simd_panel.h"
#include "compute/simd_panel_matmul.h"

namespace sluice {
namespace {

constexpr int kPanels = 2;  // of a tile

template <class P>
using IntOf = typename P::V::Int;
template <class P>
using FloatOf = typename P::V::Float;
template <class P>
constexpr int kPairLanes = kPanels* P::V::kLanes;
// Rows whose activations are in the first-level cache together.
template <class P>
constexpr int kBandRows = 2 * P::kTileRows;

// The largest magnitude of a code without its offset, of formats that are not wide.
template <class F>
constexpr int kCodeMagnitude = F::kMaxCode - F::kOffset > F::kOffset ? F::kMaxCode - F::kOffset : F::kOffset;
// Pairs of groups of a block; where groups are of 32, pairs of their sums are added beforehand.
template <class F>
constexpr int kSumPairs = F::kGroupDwords == 8 ? 4 : 8;
// Multiples of a sub-scale that a tile holds.
template <class F>
constexpr int kFactors = F::kFactors ? kLargestFactor : 1;

template <class P>
struct Tile256 {
  IntOf<P> codes[kCodeDwords];
  IntOf<P> scales[kCodeDwords / P::F::kGroupDwords][kFactors<typename P::F>];
  IntOf<P> sum_pairs[P::F::kMinimums ? kSumPairs<typename P::F> : 1];
  IntOf<P> starts[P::kPanelStarts ? kCodeDwords / P::kStep : 1];
  FloatOf<P> unit;
  FloatOf<P> min_unit;
};
template <class P>
struct Tile32 {
  IntOf<P> codes[kCodeDwords];
  IntOf<P> starts[P::kPanelStarts ? 8 : 1];
  FloatOf<P> unit[8];
  FloatOf<P> min_unit[8];
};

template <class P>
SLUICE_NOINLINE void DecodeTile(const Slice& slice, Tile256<P>* tile) {
  using V = typename P::V;
  using F = typename P::F;
  Header256<V> header;
  F::template DecodeHeader<V>(slice.bytes, slice.stride, &header);
  DecodeParts<V, F, 0>(slice, header, tile->codes);
  for (int i = 0; F::kMinimums && i < kSumPairs<typename P::F>; ++i) {
    tile->sum_pairs[i] = header.sum_pairs[i];
    // Of groups of 32: the even word of one pair, the odd one of the next.
    if constexpr (kSumPairs<typename P::F> == 4) {
      tile->sum_pairs[i] = V::Merge(V::Set1(0xffff), header.sum_pairs[2 * i], header.sum_pairs[2 * i + 1]);
    }
  }
  tile->unit = header.unit;
  if constexpr (F::kMinimums) tile->min_unit = header.min_unit;
  P::Finish(header, tile);
}

template <class P>
SLUICE_NOINLINE void DecodeTile(const Slice& slice, Tile32<P>* tile) {
  using F = typename P::F;
  for (int b = 0; b < slice.blocks; ++b) {
    IntOf<P> codes[8];
    F::template Decode<typename P::V>(slice.bytes + b * F::kBytes, slice.stride, codes, &tile->unit[b],
                                      &tile->min_unit[b]);
    if constexpr (P::kPanelStarts) tile->starts[b] = P::Finish(codes);
    SLUICE_UNROLL
    for (int k = 0; k < 8; ++k) tile->codes[8 * b + k] = codes[k];
  }
}

// The activations of a band of rows, as products want them.
template <class P>
struct Band {
  uint32_t harsh[kBandRows<P>];  // P::HarshGroups of each row
  const void* blocks[kBandRows<P>];
  alignas(32) int16_t sums[kBandRows<P>][16];
  alignas(32) int32_t multiples[kBandRows<P>][8];  // where the row's multiple of a sub-scale lies, in bytes
  alignas(64) int32_t starts[kBandRows<P>][16];
  alignas(32) float scales[kBandRows<P>][8];  // of blocks of 32
  const int8_t* values[kBandRows<P>];
  alignas(64) int8_t changed[kBandRows<P>][256];  // values that are not as in their block
};

template <class P>
SLUICE_INLINE void SetSums(const int16_t* group_sums, int16_t* sums) {
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(group_sums));
  if constexpr (kSumPairs<typename P::F> == 8) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums), all);
  } else {
    const __m256i pairs = _mm256_madd_epi16(all, _mm256_set1_epi16(1));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(pairs, pairs), 0x08);
    _mm_store_si128(reinterpret_cast<__m128i*>(sums), _mm256_castsi256_si128(words));
  }
}

template <class P>
SLUICE_INLINE void SetMultiples(const int8_t* factors, int32_t* multiples) {
  const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(factors)));
  constexpr int kBits = std::countr_zero(sizeof(IntOf<P>));
  const __m256i bytes = _mm256_slli_epi32(_mm256_sub_epi32(wide, _mm256_set1_epi32(1)), kBits);
  _mm256_store_si256(reinterpret_cast<__m256i*>(multiples), bytes);
}

template <class P>
SLUICE_INLINE void SetBiased(const void* values, int8_t* biased) {
  using Int = IntOf<P>;
  const Int bias = P::V::Set1(static_cast<int32_t>(0x80808080u));
  SLUICE_UNROLL
  for (size_t i = 0; i < 256 / sizeof(Int); ++i) {
    reinterpret_cast<Int*>(biased)[i] = P::V::Xor(static_cast<const Int*>(values)[i], bias);
  }
}

template <class P, class Activations>
SLUICE_NOINLINE void SetBand(const void* const* rows, int n_rows, int64_t index, Band<P>* band) {
  using F = typename P::F;
  for (int r = 0; r < n_rows; ++r) {
    const Activations* block = static_cast<const Activations*>(rows[r]) + index;
    const void* values = &block->values;
    if constexpr (std::is_same_v<Activations, Q8Block256>) {
      values = ValuesOf<F>(*block, band->changed[r]);
      if constexpr (F::kMinimums) SetSums<P>(block->group_sums, band->sums[r]);
      if constexpr (F::kFactors) SetMultiples<P>(block->factors, band->multiples[r]);
      if constexpr (P::kHasHarsh) band->harsh[r] = P::HarshGroups(*block, static_cast<const int8_t*>(values));
    } else {
      _mm256_store_ps(band->scales[r], _mm256_load_ps(block->scales));
    }
    if constexpr (P::kRowStarts) P::SetStarts(*block, band->starts[r]);
    band->blocks[r] = block;
    band->values[r] = static_cast<const int8_t*>(values);
    if constexpr (!P::kPanelStarts) continue;
    SetBiased<P>(values, band->changed[r]);
    band->values[r] = band->changed[r];
  }
}

// The float chains of a row and a pair of panels.
template <class P>
struct MainChains {
  FloatOf<P> main[kPanels];
};
template <class P>
struct BothChains : MainChains<P> {
  FloatOf<P> minimum[kPanels];
};
template <class P>
using PairChains = std::conditional_t<P::F::kMinimums, BothChains<P>, MainChains<P>>;
// Rows that share one decoding, as many as are multiplied at once (src/model/linear.cc).
// With minimums their chains leave the first-level cache, but decoding 100 rows of q4_K
// twice instead costs 7 %.
constexpr int kGroupRows = 128;

template <class P, int R>
using TileSums = IntOf<P>[kPanels][R];

// Instructions that take an address made of two registers take more room.
template <class T>
SLUICE_INLINE const T* InOneRegister(const T* address) {
  asm("" : "+r"(address));
  return address;
}

// What lies at `index` of the first of some rows and, kStride further each, of the others. Compilers would keep a
// register for each row otherwise, and spend more instructions on these than on products.
template <class T, int kStride>
class OfRows {
 public:
  SLUICE_INLINE OfRows(const T (*rows)[kStride], int index) : first_(InOneRegister(*rows + index)) {}
  SLUICE_INLINE const T* operator[](int row) const { return first_ + row * kStride; }

 private:
  const T* first_;
};

// Adds the products of `kDwords` dwords of codes.
template <class P, int R, int kDwords>
SLUICE_INLINE void AddDots(const IntOf<P>* const (&codes)[kPanels], const int8_t* const (&values)[R], int first,
                           TileSums<P, R>& sums) {
  SLUICE_UNROLL
  for (int k = 0; k < kDwords; ++k) {
    const IntOf<P> a = codes[0][first + k], b = codes[1][first + k];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const IntOf<P> x = P::V::Broadcast(values[r] + 4 * (first + k));
      sums[0][r] = P::Dot(sums[0][r], a, x);
      sums[1][r] = P::Dot(sums[1][r], b, x);
    }
  }
}

// Where parts number `part` start.
template <class P, int R, class Tile>
SLUICE_INLINE void StartParts(const Tile (&tiles)[kPanels], const Band<P>& band, int row, int part,
                              TileSums<P, R>& parts) {
  if constexpr (P::kRowStarts) {
    const OfRows starts(band.starts + row, part);
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) parts[0][r] = parts[1][r] = P::V::Broadcast(starts[r]);
  } else {
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      IntOf<P> start = P::V::Set1(0);
      if constexpr (P::kPanelStarts) start = tiles[p].starts[part];
      SLUICE_UNROLL
      for (int r = 0; r < R; ++r) parts[p][r] = start;
    }
  }
}

// Adds step number `step`, scaled as each row's factor says.
template <class P, bool kHarsh, int R>
SLUICE_INLINE void AddStepSums(const Tile256<P> (&tiles)[kPanels], const Band<P>& band,
                               const int8_t* const (&values)[R], int row, int step, TileSums<P, R>& sums) {
  using Int = IntOf<P>;
  const Int* codes[kPanels] = {tiles[0].codes, tiles[1].codes};
  TileSums<P, R> parts;
  StartParts<P, R>(tiles, band, row, step, parts);
  AddDots<P, R, P::kStep>(codes, values, step * P::kStep, parts);
  const OfRows multiples(band.multiples + row, step * P::kStep / 8);
  const Int* scales = tiles[0].scales[step * P::kStep / P::F::kGroupDwords];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    const char* scale = reinterpret_cast<const char*>(scales);  // those of the other panel lie a tile behind
    if constexpr (kFactors < typename P::F >> 1) scale = InOneRegister(scale + *multiples[r]);
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      const Int* of_panel = reinterpret_cast<const Int*>(scale + p * sizeof(Tile256<P>));
      sums[p][r] = P::template AddStep<kHarsh>(sums[p][r], parts[p][r], *of_panel);
    }
  }
}

template <class P, int R>
SLUICE_INLINE void BlockSums(const Tile256<P> (&tiles)[kPanels], const Band<P>& band, int row, uint32_t harsh,
                             TileSums<P, R>& sums) {
  const IntOf<P>* codes[kPanels] = {tiles[0].codes, tiles[1].codes};
  const int8_t* values[R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) values[r] = band.values[row + r];
  if constexpr (P::kFolded) {
    StartParts<P, R>(tiles, band, row, 0, sums);
    for (int k = 0; k < kCodeDwords; k += 4) AddDots<P, R, 4>(codes, values, k, sums);
    return;
  }
  SLUICE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[p][r] = P::V::Set1(0);
  }
  for (int s = 0; s < kCodeDwords / P::kStep; ++s, harsh >>= P::kStep / 4) {
    if (P::kHasHarsh && (harsh & ((1u << (P::kStep / 4)) - 1)) != 0) {
      AddStepSums<P, true, R>(tiles, band, values, row, s, sums);
    } else {
      AddStepSums<P, false, R>(tiles, band, values, row, s, sums);
    }
  }
}

template <class P, int R>
SLUICE_INLINE void MinimumSums(const Tile256<P> (&tiles)[kPanels], const Band<P>& band, int row, TileSums<P, R>& sums) {
  SLUICE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[p][r] = P::V::Set1(0);
  }
  SLUICE_UNROLL
  for (int i = 0; i < kSumPairs<typename P::F>; ++i) {
    const IntOf<P> a = tiles[0].sum_pairs[i], b = tiles[1].sum_pairs[i];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const IntOf<P> x = P::V::Broadcast(band.sums[row + r] + 2 * i);
      sums[0][r] = P::V::MaddPairs(sums[0][r], a, x);
      sums[1][r] = P::V::MaddPairs(sums[1][r], b, x);
    }
  }
}

// chain + unit * scale * sum, as compute/kernel_set.h has it.
template <class V>
SLUICE_INLINE typename V::Float Continued(typename V::Float chain, typename V::Float unit, typename V::Float scale,
                                          typename V::Int sum) {
  return V::Fma(V::MulFloat(unit, scale), V::ToFloat(sum), chain);
}

template <class P, int R>
SLUICE_NOINLINE void RunTile(const Tile256<P> (&tiles)[kPanels], int, const Band<P>& band, int row,
                             PairChains<P>* chains) {
  using V = typename P::V;
  uint32_t harsh = 0;
  for (int r = 0; P::kHasHarsh && r < R; ++r) harsh |= band.harsh[row + r];
  TileSums<P, R> sums;
  BlockSums<P, R>(tiles, band, row, harsh, sums);
  TileSums<P, R> minimums;
  if constexpr (P::F::kMinimums) MinimumSums<P, R>(tiles, band, row, minimums);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    const FloatOf<P> scale = V::SetFloat(static_cast<const Q8Block256*>(band.blocks[row + r])->scale);
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      chains[r].main[p] = Continued<V>(chains[r].main[p], tiles[p].unit, scale, sums[p][r]);
      if constexpr (P::F::kMinimums) {
        chains[r].minimum[p] = Continued<V>(chains[r].minimum[p], tiles[p].min_unit, scale, minimums[p][r]);
      }
    }
  }
}

template <class P, int R>
SLUICE_INLINE void ContinueMinimums(const Tile32<P> (&tiles)[kPanels], int n_blocks, const Band<P>& band, int row,
                                    PairChains<P>* chains) {
  using V = typename P::V;
  FloatOf<P> minimum[kPanels][R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) minimum[p][r] = chains[r].minimum[p];
  }
  for (int b = 0; b < n_blocks; ++b) {
    const OfRows scales(band.scales + row, b);
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const FloatOf<P> scale = V::SetFloat(*scales[r]);
      const IntOf<P> sum = V::Set1(static_cast<const Q8Block32x8*>(band.blocks[row + r])->sums[b]);
      SLUICE_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        minimum[p][r] = Continued<V>(minimum[p][r], tiles[p].min_unit[b], scale, sum);
      }
    }
  }
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) chains[r].minimum[p] = minimum[p][r];
  }
}

// One kind of chains after the other: the registers do not hold both.
template <class P, int R>
SLUICE_NOINLINE void RunTile(const Tile32<P> (&tiles)[kPanels], int n_blocks, const Band<P>& band, int row,
                             PairChains<P>* chains) {
  using V = typename P::V;
  if constexpr (P::F::kMinimums) ContinueMinimums<P, R>(tiles, n_blocks, band, row, chains);
  const IntOf<P>* codes[kPanels] = {tiles[0].codes, tiles[1].codes};
  const int8_t* values[R];
  FloatOf<P> main[kPanels][R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    values[r] = band.values[row + r];
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) main[p][r] = chains[r].main[p];
  }
  for (int b = 0; b < n_blocks; ++b) {
    TileSums<P, R> sums;
    StartParts<P, R>(tiles, band, row, b, sums);
    AddDots<P, R, 8>(codes, values, 8 * b, sums);
    const OfRows scales(band.scales + row, b);
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const FloatOf<P> scale = V::SetFloat(*scales[r]);
      SLUICE_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        main[p][r] = Continued<V>(main[p][r], tiles[p].unit[b], scale, P::Total(sums[p][r]));
      }
    }
  }
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) chains[r].main[p] = main[p][r];
  }
}

template <class P>
using PanelOf = typename P::F::template Panel<typename P::V>;
template <class P>
using TileOf = std::conditional_t<PanelOf<P>::kBlocks == 1, Tile256<P>, Tile32<P>>;

// A tile of `n_rows` rows, R at most.
template <class P, int R, class Tile>
SLUICE_INLINE void RunTileOf(int n_rows, const Tile (&tiles)[kPanels], int n_blocks, const Band<P>& band, int row,
                             PairChains<P>* chains) {
  if constexpr (R > P::kLeastTileRows) {
    if (n_rows < R) return RunTileOf<P, R - 1>(n_rows, tiles, n_blocks, band, row, chains);
  }
  RunTile<P, R>(tiles, n_blocks, band, row, chains);
}

// The outputs that are computed together: pairs of panels, and rows.
template <class P>
struct Group {
  int64_t first_outputs[P::kPairs];
  int n_pairs;
  const void* const* rows;
  // Tiles of rows, where each begins and where the last one ends.
  int n_tiles;
  int first_rows[kGroupRows / P::kLeastTileRows + 1];

  // They differ by one row at most.
  void SetRows(const void* const* all, int n_rows) {
    rows = all;
    n_tiles = (n_rows + P::kTileRows - 1) / P::kTileRows;
    for (int t = 0; t <= n_tiles; ++t) first_rows[t] = n_rows * t / n_tiles;
  }
};

// Asks for a share of the weights that are decoded next, so that requests come
// evenly: number `part` of `parts`. Behind the matrix this does no harm.
template <class P>
SLUICE_INLINE void FetchNext(const PanelSource& matrix, const Group<P>& group, int64_t first, int part, int parts) {
  constexpr int kBlocks = PanelOf<P>::kBlocks;
  constexpr int kLanes = P::kPairs * kPairLanes<P>;
  // What lies in one piece: a slice of a row, or of as many rows as are interleaved.
  constexpr int kRows = kFieldSpread<typename P::V>;
  constexpr int kBytes = kRows * P::F::kBytes;
  const uint8_t* next = matrix.bytes + group.first_outputs[0] * matrix.stride;
  next += first + kBlocks < matrix.blocks ? (first + kBlocks) * kBytes : kLanes * matrix.stride;
  constexpr int kPieces = kLanes / kRows;
  for (int piece = kPieces * part / parts; piece < kPieces * (part + 1) / parts; ++piece) {
    SLUICE_UNROLL
    for (int i = 0; i < kBlocks * kBytes; i += 64) __builtin_prefetch(next + piece * kRows * matrix.stride + i, 0, 2);
  }
}

template <class P>
void DecodeGroup(const PanelSource& matrix, const Group<P>& group, int64_t first, TileOf<P> (*tiles)[kPanels]) {
  using V = typename P::V;
  for (int i = 0; i < group.n_pairs; ++i) {
    for (int p = 0; p < kPanels; ++p) {
      PanelSource source = matrix;
      source.bytes += (group.first_outputs[i] + p * V::kLanes) * source.stride;
      Slice slice = source.SliceAt<V, typename P::F, PanelOf<P>>(first);
      slice.ahead = nullptr;
      DecodeTile<P>(slice, &tiles[i][p]);
    }
  }
}

template <class P>
void RunGroup(const PanelSource& matrix, const Group<P>& group, PairChains<P> (*chains)[kGroupRows]) {
  using Panel = PanelOf<P>;
  TileOf<P> tiles[P::kPairs][kPanels];
  Band<P> band;
  const int bands = (group.n_tiles + 1) / 2;
  for (int64_t first = 0; first < matrix.blocks; first += Panel::kBlocks) {
    DecodeGroup<P>(matrix, group, first, tiles);
    const int64_t left = matrix.blocks - first;
    const int n_blocks = static_cast<int>(left < Panel::kBlocks ? left : Panel::kBlocks);
    for (int b = 0; b < bands; ++b) {
      const int end_tile = 2 * b + 2 < group.n_tiles ? 2 * b + 2 : group.n_tiles;
      const int row = group.first_rows[2 * b], n_rows = group.first_rows[end_tile] - row;
      SetBand<P, typename Panel::Activations>(group.rows + row, n_rows, first / Panel::kBlocks, &band);
      for (int i = 0; i < group.n_pairs; ++i) {
        FetchNext<P>(matrix, group, first, b * group.n_pairs + i, bands * group.n_pairs);
        for (int t = 2 * b; t < end_tile; ++t) {
          const int r = group.first_rows[t];
          RunTileOf<P, P::kTileRows>(group.first_rows[t + 1] - r, tiles[i], n_blocks, band, r - row, chains[i] + r);
        }
      }
    }
  }
}

// At least kPairLanes outputs; the last pair overlaps the one before it.
template <class P>
void GroupsInTiles(const MatMulArgs& args, const PanelSource& matrix, int64_t first_row, int n_rows) {
  using V = typename P::V;
  constexpr int64_t kLanes = kPairLanes<P>;
  PairChains<P> chains[P::kPairs][kGroupRows];
  Group<P> group;
  group.SetRows(args.activations + first_row, n_rows);
  for (int64_t output = 0; output < args.n_out;) {
    for (group.n_pairs = 0; group.n_pairs < P::kPairs && output < args.n_out; output += kLanes) {
      group.first_outputs[group.n_pairs++] = output + kLanes <= args.n_out ? output : args.n_out - kLanes;
    }
    for (int i = 0; i < group.n_pairs; ++i) {
      for (int r = 0; r < n_rows; ++r) chains[i][r] = {};
    }
    RunGroup<P>(matrix, group, chains);
    for (int i = 0; i < group.n_pairs; ++i) {
      for (int r = 0; r < n_rows; ++r) {
        for (int p = 0; p < kPanels; ++p) {
          FloatOf<P> result = chains[i][r].main[p];
          if constexpr (P::F::kMinimums) result = V::AddFloat(result, chains[i][r].minimum[p]);
          V::StoreFloat(args.outputs[first_row + r] + group.first_outputs[i] + p * V::kLanes, result);
        }
      }
    }
  }
}

// Whether tiles of equal size are large enough for more than kFewRows rows.
template <class P>
constexpr bool AreTiles() {
  for (int rows = P::kFewRows + 1; rows <= kGroupRows; ++rows) {
    const int tiles = (rows + P::kTileRows - 1) / P::kTileRows;
    if (rows / tiles < P::kLeastTileRows) return false;
  }
  return true;
}

// A MatMulFn.
template <class P, class PanelV>
void TiledMatMul(const MatMulArgs& args) {
  static_assert(AreTiles<P>());
  if (args.n_out < kPairLanes<P> || args.n_rows <= P::kFewRows) return PanelMatMul<PanelV, typename P::F>(args);
  // Groups of equal size: a small one at the end would pay for a whole decoding.
  const PanelSource source = SourceOf<PanelV, typename P::F>(args);
  const int64_t groups = (args.n_rows + kGroupRows - 1) / kGroupRows;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t first = args.n_rows * g / groups;
    GroupsInTiles<P>(args, source, first, static_cast<int>(args.n_rows * (g + 1) / groups - first));
  }
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_TILES_H_
