// Products with several rows of activations: tiles of rows and two panels.
//
// Two panels (32 outputs) of one slice are decoded into the first-level cache
// for up to kGroupRows rows; a tile keeps the integer sums of R rows and both
// panels in registers. vpdpbusd wants one unsigned operand:
//   formats with minimums  unsigned codes, activations as they are
//   the others             signed codes, activations + 128, whose excess (128 times
//                          the sum of the codes) the sums start below zero by
// Sub-scales enter the sums as cheaply as the format allows: multiplied into
// the codes, by int16 products, or by int32 products. Where activations have factors,
// a tile holds each sub-scale times each factor, and a row takes its own.
//
// AVX-512 only; linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_TILES_H_
#define SLUICE_COMPUTE_SIMD_TILES_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "compute/activations.h"
#include "compute/kernel_set.h"
#include "compute/simd_avx512.h"
#include "compute/simd_common.h"
#include "compute/simd_panel.h"

namespace sluice {
namespace {

constexpr int kPanels = 2;  // of a tile
constexpr int kPairs = 2;   // of panels, decoded together
constexpr int kPairLanes = kPanels * Avx512::kLanes;
constexpr int kTileRows = 6;              // or one less
constexpr int kBandRows = 2 * kTileRows;  // rows whose activations are in the first-level cache together
constexpr int kFewRows = 24;              // up to here the cost of decoding decides: one panel at a time
// Any larger number of rows is a sum of 5s and 6s.
static_assert(kFewRows >= (kTileRows - 1) * (kTileRows - 2));

// Codes of full range as they are.
struct Avx512Signed : Avx512 {
  static constexpr int kWideBias = 0;
};

// How the codes and sub-scales of format F are taken.
template <class F>
struct TilePlan {
  using V = std::conditional_t<F::kWide, Avx512Signed, Avx512>;
  static constexpr bool kSigned = !F::kMinimums;
  static constexpr int kOffset = F::kOffset;
  static constexpr int kMagnitude = F::kWide                          ? 128
                                    : !kSigned                        ? F::kMaxCode
                                    : F::kMaxCode - kOffset > kOffset ? F::kMaxCode - kOffset
                                                                      : kOffset;
  // Dwords of codes whose products surely fit int16, a power of two.
  static constexpr int kExact = 32767 / (4 * 127 * kMagnitude);
  static constexpr int kWordDwords = kExact >= 4 ? 4 : kExact >= 2 ? 2 : 1;
};
// Steps are what is summed before the sub-scale; int16 steps are scaled and added
// by one instruction, int32 ones take the work of three.
template <class F>
struct TilePlan256 : TilePlan<F> {
  using Base = TilePlan<F>;
  static constexpr bool kWords = !F::kFoldScales && F::kGroupDwords / Base::kWordDwords < 3;
  static constexpr int kStep = kWords ? Base::kWordDwords : F::kGroupDwords;
  static constexpr int kSteps = kCodeDwords / kStep;
  // Each step has its own start only where steps must fit int16.
  static constexpr int kStarts = kWords && Base::kSigned ? kSteps : 1;
  // Where groups are of 32, pairs of group sums are added beforehand.
  static constexpr int kSumPairs = F::kGroupDwords == 8 ? 4 : 8;

  // Longer steps for blocks of activations that are not all large: no sum over
  // sixteen magnitudes exceeds kMildSum (of 2032), so int16 holds these too.
  static constexpr int kMildStep = F::kGroupDwords == 8 && Base::kMagnitude <= 16 ? 8 : 4;
  static constexpr int kMildSum = 32767 / (Base::kMagnitude * kMildStep / 4);
  static constexpr bool kHasMild =
      !F::kFoldScales && !F::kArranged && kMildSum >= 1000 && (kWords ? kMildStep > kStep : !Base::kSigned);
  static constexpr int kMildStarts = kHasMild && Base::kSigned ? kCodeDwords / kMildStep : 1;

  // Multiples of a sub-scale.
  static constexpr int kFactors = F::kFactors ? kLargestFactor : 1;
  static_assert(!F::kFactors || kWords || !Base::kSigned, "a start for all of a block knows no factors");
  static_assert(!F::kFactors || !F::kFoldScales);
};

template <class F>
struct Tile256 {
  __m512i codes[kCodeDwords];
  __m512i scales[kCodeDwords / F::kGroupDwords][TilePlan256<F>::kFactors];
  __m512i sum_pairs[F::kMinimums ? TilePlan256<F>::kSumPairs : 1];
  __m512i starts[TilePlan256<F>::kStarts];
  __m512i mild_starts[TilePlan256<F>::kMildStarts];
  __m512 unit;
  __m512 min_unit;
};
struct Tile32 {
  __m512i codes[8][8];
  __m512i starts[8];
  __m512 unit[8];
  __m512 min_unit[8];
};

template <bool kSigned>
SLUICE_INLINE __m512i TileDot(__m512i sum, __m512i codes, __m512i values) {
  return kSigned ? _mm512_dpbusd_epi32(sum, values, codes) : _mm512_dpbusd_epi32(sum, codes, values);
}
template <bool kWords>
SLUICE_INLINE __m512i AddStep(__m512i sum, __m512i part, __m512i scale) {
  if constexpr (kWords) return _mm512_dpwssd_epi32(sum, part, scale);
  return _mm512_add_epi32(sum, _mm512_mullo_epi32(part, scale));
}
// -128 times the sum of the codes.
template <int kDwords>
SLUICE_INLINE __m512i StartOf(const __m512i* codes) {
  constexpr int kSums = kDwords < 4 ? kDwords : 4;
  const __m512i bias = _mm512_set1_epi8(static_cast<char>(0x80));
  __m512i sums[kSums];
  SLUICE_UNROLL
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), bias, codes[i]);
  SLUICE_UNROLL
  for (int k = kSums; k < kDwords; ++k) sums[k % kSums] = _mm512_dpbusd_epi32(sums[k % kSums], bias, codes[k]);
  SLUICE_UNROLL
  for (int i = 1; i < kSums; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  return _mm512_sub_epi32(_mm512_setzero_si512(), sums[0]);
}

// Bytes times the low word of the scale of their lane, modulo 256.
SLUICE_INLINE __m512i ScaledBytes(__m512i codes, __m512i scale) {
  const __m512i both = _mm512_or_si512(scale, _mm512_slli_epi32(scale, 16));
  const __m512i high = _mm512_set1_epi16(static_cast<int16_t>(0xff00));
  const __m512i odd = _mm512_mullo_epi16(_mm512_and_si512(codes, high), both);
  return _mm512_ternarylogic_epi32(high, odd, _mm512_mullo_epi16(codes, both), 0xca);
}

// The sub-scales become a part of the codes. For signed ones the products are
// negative, so that -4 times -32 fits int8, and so is the unit.
template <class F>
SLUICE_INLINE __m512i FoldedScale(__m512i scale) {
  if constexpr (TilePlan<F>::kSigned) scale = _mm512_sub_epi16(_mm512_setzero_si512(), scale);
  return _mm512_or_si512(_mm512_and_si512(scale, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(scale, 16));
}

// Makes of the codes of group g what tiles want.
template <class F>
SLUICE_INLINE void FinishGroup(int g, Tile256<F>* tile, __m512i* total) {
  using Plan = TilePlan256<F>;
  __m512i* codes = tile->codes + g * F::kGroupDwords;
  __m512i* scale = &tile->scales[g][0];
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(Plan::kOffset));
  const __m512i factor = FoldedScale<F>(*scale);
  SLUICE_UNROLL
  for (int k = 0; k < F::kGroupDwords; ++k) {
    if constexpr (Plan::kOffset != 0) codes[k] = _mm512_sub_epi8(codes[k], offset);
    if constexpr (F::kFoldScales) codes[k] = ScaledBytes(codes[k], factor);
  }
  if constexpr (Plan::kWords) *scale = _mm512_and_si512(*scale, _mm512_set1_epi32(0xffff));
  SLUICE_UNROLL
  for (int f = 1; f < Plan::kFactors; ++f) {
    if constexpr (Plan::kWords) {
      scale[f] = _mm512_add_epi16(scale[f - 1], scale[0]);
    } else {
      scale[f] = _mm512_add_epi32(scale[f - 1], scale[0]);
    }
  }
  if constexpr (!Plan::kSigned) return;
  if constexpr (Plan::kWords) {
    constexpr int kSteps = F::kGroupDwords / Plan::kStep;
    SLUICE_UNROLL
    for (int s = 0; s < kSteps; ++s) tile->starts[g * kSteps + s] = StartOf<Plan::kStep>(codes + s * Plan::kStep);
  } else {
    const __m512i start = StartOf<F::kGroupDwords>(codes);
    *total = F::kFoldScales ? _mm512_add_epi32(*total, start) : AddStep<false>(*total, start, *scale);
  }
}

// The starts of longer steps are sums of those of the shorter ones.
template <class F>
SLUICE_INLINE void SetMildStarts(Tile256<F>* tile) {
  using Plan = TilePlan256<F>;
  constexpr int kEach = Plan::kMildStep / Plan::kStep;
  for (int s = 0; s < kCodeDwords / Plan::kMildStep; ++s) {
    __m512i sum = tile->starts[s * kEach];
    for (int i = 1; i < kEach; ++i) sum = _mm512_add_epi32(sum, tile->starts[s * kEach + i]);
    tile->mild_starts[s] = sum;
  }
}

template <class F>
SLUICE_NOINLINE void DecodeTile(const Slice& slice, Tile256<F>* tile) {
  using Plan = TilePlan256<F>;
  Header256<typename Plan::V> header;
  F::template DecodeHeader<typename Plan::V>(slice.bytes, slice.stride, &header);
  DecodeParts<typename Plan::V, F, 0>(slice, header, tile->codes);
  constexpr int kGroups = kCodeDwords / F::kGroupDwords;
  for (int g = 0; g < kGroups; ++g) tile->scales[g][0] = header.scales[g];
  for (int i = 0; F::kMinimums && i < Plan::kSumPairs; ++i) {
    tile->sum_pairs[i] = header.sum_pairs[i];
    if constexpr (Plan::kSumPairs == 4) {
      tile->sum_pairs[i] = _mm512_mask_blend_epi16(0xaaaaaaaa, header.sum_pairs[2 * i], header.sum_pairs[2 * i + 1]);
    }
  }
  constexpr bool kNegated = Plan::kSigned && F::kFoldScales;
  tile->unit = kNegated ? _mm512_sub_ps(_mm512_set1_ps(-0.0f), header.unit) : header.unit;
  if constexpr (F::kMinimums) tile->min_unit = header.min_unit;
  __m512i total = _mm512_setzero_si512();
  for (int g = 0; g < kGroups; ++g) FinishGroup<F>(g, tile, &total);
  if constexpr (Plan::kSigned && !Plan::kWords) tile->starts[0] = total;
  if constexpr (Plan::kSigned && Plan::kHasMild) SetMildStarts(tile);
}

template <class F>
SLUICE_NOINLINE void DecodeTile(const Slice& slice, Tile32* tile) {
  using Plan = TilePlan<F>;
  for (int b = 0; b < slice.blocks; ++b) {
    __m512i codes[8];
    F::template Decode<typename Plan::V>(slice.bytes + b * F::kBytes, slice.stride, codes, &tile->unit[b],
                                         &tile->min_unit[b]);
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(Plan::kOffset));
    SLUICE_UNROLL
    for (int k = 0; k < 8; ++k) {
      if constexpr (Plan::kOffset != 0) codes[k] = _mm512_sub_epi8(codes[k], offset);
      tile->codes[b][k] = codes[k];
    }
    if constexpr (Plan::kSigned) tile->starts[b] = StartOf<8>(codes);
  }
}

// The activations of a band of rows, as products want them.
struct Band {
  bool mild;  // all of it: TilePlan256::kMildSum
  const void* blocks[kBandRows];
  const uint8_t* values[kBandRows];
  alignas(32) int16_t sums[kBandRows][16];
  alignas(64) uint8_t biased[kBandRows][256];
};
template <class F>
SLUICE_INLINE void SetSums(const int16_t* group_sums, int16_t* sums) {
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(group_sums));
  if constexpr (TilePlan256<F>::kSumPairs == 8) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums), all);
  } else {
    const __m256i pairs = _mm256_madd_epi16(all, _mm256_set1_epi16(1));
    _mm_store_si128(reinterpret_cast<__m128i*>(sums), _mm256_cvtepi32_epi16(pairs));
  }
}
template <class F, class Activations>
SLUICE_NOINLINE void SetBand(const void* const* rows, int n_rows, int64_t index, Band* band) {
  const __m512i bias = _mm512_set1_epi8(static_cast<char>(0x80));
  band->mild = true;
  for (int r = 0; r < n_rows; ++r) {
    const Activations* block = static_cast<const Activations*>(rows[r]) + index;
    const void* values = &block->values;
    if constexpr (std::is_same_v<Activations, Q8Block256>) {
      values = ValuesOf<F>(*block, reinterpret_cast<int8_t*>(band->biased[r]));
      if constexpr (F::kMinimums) SetSums<F>(block->group_sums, band->sums[r]);
      band->mild &= block->largest_group <= TilePlan256<F>::kMildSum;
    }
    band->blocks[r] = block;
    band->values[r] = static_cast<const uint8_t*>(values);
    if constexpr (!TilePlan<F>::kSigned) continue;
    SLUICE_UNROLL
    for (int i = 0; i < 256; i += 64) {
      _mm512_store_si512(band->biased[r] + i,
                         _mm512_xor_si512(_mm512_load_si512(static_cast<const uint8_t*>(values) + i), bias));
    }
    band->values[r] = band->biased[r];
  }
}

// The float chains of a row and a pair of panels.
struct MainChains {
  __m512 main[kPanels];
};
struct BothChains : MainChains {
  __m512 minimum[kPanels];
};
template <class F>
using PairChains = std::conditional_t<F::kMinimums, BothChains, MainChains>;
// Rows that share one decoding: as many as have chains in 32 KB.
template <class F>
constexpr int kGroupRows = F::kMinimums ? 64 : 128;

template <int R>
using TileSums = __m512i[kPanels][R];

// Adds the products of `kDwords` dwords of codes.
template <bool kSigned, int R, int kDwords>
SLUICE_INLINE void AddDots(const __m512i* const (&codes)[kPanels], const uint8_t* const (&values)[R], int first,
                           TileSums<R>& sums) {
  SLUICE_UNROLL
  for (int k = first; k < first + kDwords; ++k) {
    const __m512i a = codes[0][k], b = codes[1][k];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i x = Avx512::Broadcast(values[r] + 4 * k);
      sums[0][r] = TileDot<kSigned>(sums[0][r], a, x);
      sums[1][r] = TileDot<kSigned>(sums[1][r], b, x);
    }
  }
}

// Adds the steps of a group, scaled as the row's factor says.
template <class F, bool kWords, int R>
SLUICE_INLINE void AddSteps(const Tile256<F> (&tiles)[kPanels], int group, const int16_t* const (&factors)[R],
                            const TileSums<R>& parts, TileSums<R>& sums) {
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    const int multiple = F::kFactors ? factors[r][group * F::kGroupDwords / 8] - 1 : 0;
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      sums[p][r] = AddStep<kWords>(sums[p][r], parts[p][r], tiles[p].scales[group][multiple]);
    }
  }
}

template <class F, int R, bool kMild>
SLUICE_INLINE void BlockSums(const Tile256<F> (&tiles)[kPanels], const uint8_t* const (&values)[R],
                             const int16_t* const (&factors)[R], TileSums<R>& sums) {
  using Plan = TilePlan256<F>;
  const __m512i* codes[kPanels] = {tiles[0].codes, tiles[1].codes};
  constexpr bool kWords = kMild || Plan::kWords;
  constexpr int kStep = kMild ? Plan::kMildStep : Plan::kStep;
  constexpr bool kStartSums = Plan::kSigned && !kWords;
  SLUICE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    const __m512i start = kStartSums ? tiles[p].starts[0] : _mm512_setzero_si512();
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[p][r] = start;
  }
  if constexpr (F::kFoldScales) {
    for (int k = 0; k < kCodeDwords; k += 4) AddDots<Plan::kSigned, R, 4>(codes, values, k, sums);
    return;
  }
  for (int s = 0; s < kCodeDwords / kStep; ++s) {
    TileSums<R> parts;
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      const __m512i* starts = kMild ? tiles[p].mild_starts : tiles[p].starts;
      const __m512i start = Plan::kSigned && kWords ? starts[s] : _mm512_setzero_si512();
      SLUICE_UNROLL
      for (int r = 0; r < R; ++r) parts[p][r] = start;
    }
    AddDots<Plan::kSigned, R, kStep>(codes, values, s * kStep, parts);
    AddSteps<F, kWords, R>(tiles, s * kStep / F::kGroupDwords, factors, parts, sums);
  }
}

template <class F, int R>
SLUICE_INLINE void MinimumSums(const Tile256<F> (&tiles)[kPanels], const Band& band, int row, TileSums<R>& sums) {
  SLUICE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) sums[p][r] = _mm512_setzero_si512();
  }
  SLUICE_UNROLL
  for (int i = 0; i < TilePlan256<F>::kSumPairs; ++i) {
    const __m512i a = tiles[0].sum_pairs[i], b = tiles[1].sum_pairs[i];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i x = Avx512::Broadcast(band.sums[row + r] + 2 * i);
      sums[0][r] = _mm512_dpwssd_epi32(sums[0][r], a, x);
      sums[1][r] = _mm512_dpwssd_epi32(sums[1][r], b, x);
    }
  }
}

template <class F, int R, bool kMild>
SLUICE_NOINLINE void RunTile256(const Tile256<F> (&tiles)[kPanels], const Band& band, int row, PairChains<F>* chains) {
  const uint8_t* values[R];
  const int16_t* factors[R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    values[r] = band.values[row + r];
    factors[r] = static_cast<const Q8Block256*>(band.blocks[row + r])->factors;
  }
  TileSums<R> sums;
  BlockSums<F, R, kMild>(tiles, values, factors, sums);
  TileSums<R> minimums;
  if constexpr (F::kMinimums) MinimumSums<F, R>(tiles, band, row, minimums);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    const Q8Block256& block = *static_cast<const Q8Block256*>(band.blocks[row + r]);
    const __m512 scale = _mm512_set1_ps(block.scale);
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      __m512& main = chains[r].main[p];
      main = _mm512_fmadd_ps(_mm512_mul_ps(tiles[p].unit, scale), _mm512_cvtepi32_ps(sums[p][r]), main);
      if constexpr (F::kMinimums) {
        __m512& minimum = chains[r].minimum[p];
        minimum = _mm512_fmadd_ps(_mm512_mul_ps(tiles[p].min_unit, scale), _mm512_cvtepi32_ps(minimums[p][r]), minimum);
      }
    }
  }
}

template <class F, int R>
SLUICE_INLINE void RunTile(const Tile256<F> (&tiles)[kPanels], int, const Band& band, int row, PairChains<F>* chains) {
  if constexpr (TilePlan256<F>::kHasMild) {
    if (band.mild) return RunTile256<F, R, true>(tiles, band, row, chains);
  }
  RunTile256<F, R, false>(tiles, band, row, chains);
}

template <class F, int R>
SLUICE_NOINLINE void RunTile(const Tile32 (&tiles)[kPanels], int n_blocks, const Band& band, int row,
                             PairChains<F>* chains) {
  constexpr bool kSigned = TilePlan<F>::kSigned;
  __m512 main[kPanels][R], minimum[kPanels][R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      main[p][r] = chains[r].main[p];
      if constexpr (F::kMinimums) minimum[p][r] = chains[r].minimum[p];
    }
  }
  for (int b = 0; b < n_blocks; ++b) {
    TileSums<R> sums;
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      const __m512i start = kSigned ? tiles[p].starts[b] : _mm512_setzero_si512();
      SLUICE_UNROLL
      for (int r = 0; r < R; ++r) sums[p][r] = start;
    }
    const __m512i* codes[kPanels] = {tiles[0].codes[b], tiles[1].codes[b]};
    const uint8_t* values[R];
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) values[r] = band.values[row + r] + 32 * b;
    AddDots<kSigned, R, 8>(codes, values, 0, sums);
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const Q8Block32x8& pack = *static_cast<const Q8Block32x8*>(band.blocks[row + r]);
      const __m512 scale = _mm512_set1_ps(pack.scales[b]);
      SLUICE_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        main[p][r] =
            _mm512_fmadd_ps(_mm512_mul_ps(tiles[p].unit[b], scale), _mm512_cvtepi32_ps(sums[p][r]), main[p][r]);
        if constexpr (F::kMinimums) {
          const __m512 sum = _mm512_cvtepi32_ps(_mm512_set1_epi32(pack.sums[b]));
          minimum[p][r] = _mm512_fmadd_ps(_mm512_mul_ps(tiles[p].min_unit[b], scale), sum, minimum[p][r]);
        }
      }
    }
  }
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    SLUICE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      chains[r].main[p] = main[p][r];
      if constexpr (F::kMinimums) chains[r].minimum[p] = minimum[p][r];
    }
  }
}

template <class F>
using TileOf = std::conditional_t<F::template Panel<Avx512>::kBlocks == 1, Tile256<F>, Tile32>;

// One pair of panels and one or two tiles of rows.
template <class F>
void RunBand(const TileOf<F> (&tiles)[kPanels], int n_blocks, const Band& band, int n_rows, PairChains<F>* chains) {
  for (int r = 0; r < n_rows;) {
    const int left = n_rows - r;
    if (left == kTileRows || left == 2 * kTileRows || left == 2 * kTileRows - 1) {
      RunTile<F, kTileRows>(tiles, n_blocks, band, r, chains + r);
      r += kTileRows;
    } else {
      RunTile<F, kTileRows - 1>(tiles, n_blocks, band, r, chains + r);
      r += kTileRows - 1;
    }
  }
}

// The outputs that are computed together: pairs of panels, and rows.
struct Group {
  int64_t first_outputs[kPairs];
  int n_pairs;
  const void* const* rows;
  int n_rows;
};

// Asks for a share of the weights that are decoded next, so that requests come
// evenly: number `part` of `parts`. Behind the matrix this does no harm.
template <class F>
SLUICE_INLINE void FetchNext(const PanelSource& matrix, const Group& group, int64_t first, int part, int parts) {
  constexpr int kBlocks = F::template Panel<Avx512>::kBlocks;
  constexpr int kLanes = kPairs * kPairLanes;
  const uint8_t* next = matrix.bytes + group.first_outputs[0] * matrix.stride;
  next += first + kBlocks < matrix.blocks ? (first + kBlocks) * F::kBytes : kLanes * matrix.stride;
  for (int lane = kLanes * part / parts; lane < kLanes * (part + 1) / parts; ++lane) {
    SLUICE_UNROLL
    for (int i = 0; i < kBlocks * F::kBytes; i += 64) __builtin_prefetch(next + lane * matrix.stride + i, 0, 2);
  }
}

template <class F>
void DecodeGroup(const PanelSource& matrix, const Group& group, int64_t first, TileOf<F> (*tiles)[kPanels]) {
  for (int i = 0; i < group.n_pairs; ++i) {
    for (int p = 0; p < kPanels; ++p) {
      PanelSource source = matrix;
      source.bytes += (group.first_outputs[i] + p * Avx512::kLanes) * source.stride;
      Slice slice = source.SliceAt<Avx512, F, typename F::template Panel<Avx512>>(first);
      slice.ahead = nullptr;
      DecodeTile<F>(slice, &tiles[i][p]);
    }
  }
}

template <class F>
void RunGroup(const PanelSource& matrix, const Group& group, PairChains<F> (*chains)[kGroupRows<F>]) {
  using Panel = typename F::template Panel<Avx512>;
  TileOf<F> tiles[kPairs][kPanels];
  Band band;
  const int row_tiles = (group.n_rows + kTileRows - 1) / kTileRows;
  const int bands = (row_tiles + 1) / 2;
  for (int64_t first = 0; first < matrix.blocks; first += Panel::kBlocks) {
    DecodeGroup<F>(matrix, group, first, tiles);
    const int64_t left = matrix.blocks - first;
    const int n_blocks = static_cast<int>(left < Panel::kBlocks ? left : Panel::kBlocks);
    for (int b = 0; b < bands; ++b) {
      const int r = group.n_rows * 2 * b / row_tiles;
      const int end_tile = 2 * b + 2 < row_tiles ? 2 * b + 2 : row_tiles;
      const int n_rows = group.n_rows * end_tile / row_tiles - r;
      SetBand<F, typename Panel::Activations>(group.rows + r, n_rows, first / Panel::kBlocks, &band);
      for (int i = 0; i < group.n_pairs; ++i) {
        FetchNext<F>(matrix, group, first, b * group.n_pairs + i, bands * group.n_pairs);
        RunBand<F>(tiles[i], n_blocks, band, n_rows, chains[i] + r);
      }
    }
  }
}

// At least kPairLanes outputs; the last pair overlaps the one before it.
template <class F>
void GroupsInTiles(const MatMulArgs& args, const PanelSource& matrix, int64_t first_row, int n_rows) {
  PairChains<F> chains[kPairs][kGroupRows<F>];
  Group group;
  group.rows = args.activations + first_row;
  group.n_rows = n_rows;
  for (int64_t output = 0; output < args.n_out;) {
    for (group.n_pairs = 0; group.n_pairs < kPairs && output < args.n_out; output += kPairLanes) {
      group.first_outputs[group.n_pairs++] = output + kPairLanes <= args.n_out ? output : args.n_out - kPairLanes;
    }
    for (int i = 0; i < group.n_pairs; ++i) {
      for (int r = 0; r < n_rows; ++r) chains[i][r] = {};
    }
    RunGroup<F>(matrix, group, chains);
    for (int i = 0; i < group.n_pairs; ++i) {
      for (int r = 0; r < n_rows; ++r) {
        for (int p = 0; p < kPanels; ++p) {
          __m512 result = chains[i][r].main[p];
          if constexpr (F::kMinimums) result = _mm512_add_ps(result, chains[i][r].minimum[p]);
          _mm512_storeu_ps(args.outputs[first_row + r] + group.first_outputs[i] + p * Avx512::kLanes, result);
        }
      }
    }
  }
}

// A MatMulFn.
template <class F>
void TiledMatMul(const MatMulArgs& args) {
  if (args.n_out < kPairLanes) return PanelMatMul<Avx512, F>(args);
  if (args.n_rows <= kFewRows) return PanelMatMul<Avx512, F>(args);
  // Groups of equal size: a small one at the end would pay for a whole decoding.
  const PanelSource source = SourceOf<Avx512, F>(args);
  const int64_t groups = (args.n_rows + kGroupRows<F> - 1) / kGroupRows<F>;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t first = args.n_rows * g / groups;
    GroupsInTiles<F>(args, source, first, static_cast<int>(args.n_rows * (g + 1) / groups - first));
  }
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_TILES_H_
