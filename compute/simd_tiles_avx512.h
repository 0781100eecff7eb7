// How AVX-512 takes each format in tiles; the frame is compute/simd_tiles.h.
#ifndef SLUICE_COMPUTE_SIMD_TILES_AVX512_H_
#define SLUICE_COMPUTE_SIMD_TILES_AVX512_H_

#include <cstdint>
#include <type_traits>

#include "compute/activations.h"
#include "compute/simd_avx512.h"
#include "compute/simd_tiles.h"

namespace sluice {
namespace {

template <class Format, class Words>
struct Avx512Plan {
  using F = Format;
  using V = Words;
  using Int = __m512i;
  static constexpr int kTileRows = 7;
  static constexpr int kOffset = kOffsetOf<V, F>;
  static constexpr int kMagnitude = F::kWide ? 128 : kCodeMagnitude<F>;
  static constexpr bool kRowStarts = kOffset != 0;
  static constexpr bool kPanelStarts = false;

  static SLUICE_INLINE Int Dot(Int sum, Int codes, Int values) { return _mm512_dpbusd_epi32(sum, codes, values); }
};

template <class Format, class Words>
struct Avx512Plan32 : Avx512Plan<Format, Words> {
  using Base = Avx512Plan<Format, Words>;
  using Int = __m512i;
  static constexpr int kPairs = 1;
  static constexpr int kFewRows = 1;
  static constexpr int kLeastTileRows = 2;

  static SLUICE_INLINE void SetStarts(const Q8Block32x8& pack, int32_t* starts) {
    const __m256i sums = _mm256_load_si256(reinterpret_cast<const __m256i*>(pack.sums));
    const __m256i total = _mm256_mullo_epi32(sums, _mm256_set1_epi32(-Base::kOffset));
    _mm256_store_si256(reinterpret_cast<__m256i*>(starts), total);
  }
  static SLUICE_INLINE Int Total(Int part) { return part; }
};

// Steps are what is summed before the sub-scale. Where the sum surely fits int16, or
// does for activations that are not all large, one instruction scales and adds it;
// otherwise that takes the work of three, or of five where such activations are rare.
template <class Format, class Words>
struct Avx512Plan256 : Avx512Plan<Format, Words> {
  using Base = Avx512Plan<Format, Words>;
  using F = Format;
  using V = Words;
  using Int = __m512i;
  using Base::kMagnitude;
  using Base::kOffset;
  static constexpr bool kFolded = F::kFoldScales;
  // int16 holds the sum of a step where the sum of magnitudes does not exceed kWordSum
  // (of 2032 for sixteen), as it nearly always does in a step of kWordStep dwords.
  static constexpr int kWordSum = 32767 / kMagnitude;
  static constexpr int kWordStep = F::kGroupDwords == 8 && kMagnitude <= 16 ? 8 : 4;
  static constexpr bool kWords = !kFolded && kWordSum >= 250 * kWordStep;
  static constexpr int kStep = kWords ? kWordStep : F::kGroupDwords;
  static constexpr bool kHasHarsh = kWords && kWordSum < 127 * 4 * kWordStep;

  // The tiles of a pair leave the first-level cache to little else (two pairs take 1.01 to 1.05 of the time at 64 rows,
  // 1.02 to 1.2 at 16); but putting activations into order is done once for two (iq1_s and iq3_s .9, iq2 .98).
  static constexpr int kPairs = F::kArranged || kFolded ? 2 : 1;
  // The faster a row alone, the longer it does not pay to decode for several.
  static constexpr int kFewRows = kFolded ? 20 : !kWords ? 2 : F::kArranged ? 8 : 3;
  static constexpr int kLeastTileRows = kFewRows < 3 ? 3 : 4;

  static_assert(!F::kFactors || !kFolded);
  // What lies in a step is then what lies in a group, in another order.
  static_assert(!F::kArranged || kStep == F::kGroupDwords);

  template <bool kHarsh>
  static SLUICE_INLINE Int AddStep(Int sum, Int part, Int scale) {
    if constexpr (kWords && !kHarsh) return _mm512_dpwssd_epi32(sum, part, scale);
    if constexpr (kWords) scale = _mm512_srai_epi32(_mm512_slli_epi32(scale, 16), 16);
    return _mm512_add_epi32(sum, _mm512_mullo_epi32(part, scale));
  }

  static SLUICE_INLINE uint32_t HarshGroups(const Q8Block256& block, const int8_t* values) {
    if constexpr (!F::kArranged) return HarshMagnitudes(block.magnitudes);
    uint32_t harsh = 0;
    SLUICE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const Int magnitudes = _mm512_abs_epi8(_mm512_load_si512(values + 64 * i));
      const Int halves = _mm512_sad_epu8(magnitudes, _mm512_setzero_si512());
      Int sums = _mm512_add_epi64(_mm512_unpacklo_epi64(halves, halves), _mm512_unpackhi_epi64(halves, halves));
      if constexpr (kStep == 8) sums = _mm512_add_epi64(sums, _mm512_shuffle_i32x4(sums, sums, 0xb1));
      const uint32_t lanes = _mm512_cmpgt_epi64_mask(sums, _mm512_set1_epi64(kWordSum));
      harsh |= ((lanes & 1) | (lanes >> 1 & 2) | (lanes >> 2 & 4) | (lanes >> 3 & 8)) << (4 * i);
    }
    return harsh;
  }

  static SLUICE_INLINE void SetStarts(const Q8Block256& block, int32_t* starts) {
    if constexpr (kFolded) {
      const __m256i sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block.group_sums));
      *starts = -kFoldedOffset * _mm512_reduce_add_epi32(_mm512_cvtepi16_epi32(sums));
    } else if constexpr (F::kFactors) {
      SetStartsOfGroups(block, starts);
    } else {
      V::template SetStarts<kStep>(block.group_sums, -kOffset, starts);
    }
  }

  template <class Tile>
  static SLUICE_INLINE void Finish(const Header256<V>& header, Tile* tile) {
    if constexpr (kFolded && kOffset != 0) tile->unit = _mm512_sub_ps(_mm512_set1_ps(-0.0f), tile->unit);
    for (int g = 0; g < kCodeDwords / F::kGroupDwords; ++g) {
      if constexpr (kFolded) {
        Fold(header.scales[g], tile->codes + g * F::kGroupDwords);
      } else {
        SetScales(header.scales[g], tile->scales[g]);
      }
    }
  }

 private:
  static constexpr int kFoldedOffset = 128;

  static SLUICE_INLINE uint32_t HarshMagnitudes(const uint8_t* magnitudes) {
    constexpr int kEighths = kWordSum / 8;
    const __m128i eighths = _mm_loadu_si128(reinterpret_cast<const __m128i*>(magnitudes));
    if constexpr (kStep == 8) {
      const __m128i sums = _mm_maddubs_epi16(eighths, _mm_set1_epi8(1));
      return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpgt_epi16(sums, _mm_set1_epi16(kEighths))));
    }
    return _mm_cmpgt_epu8_mask(eighths, _mm_set1_epi8(static_cast<char>(kEighths)));
  }
  // The sums of a block hold the factors, which a step does not: they are divided out, by the inverse of 3 modulo 2^32.
  static SLUICE_INLINE void SetStartsOfGroups(const Q8Block256& block, int32_t* starts) {
    static_assert(!F::kFactors || (kStep == 4 && kOffset % kLargestFactor == 0 && kLargestFactor == 4));
    constexpr int kByThird = static_cast<int>(0xaaaaaaabu * static_cast<uint32_t>(-kOffset));
    const Int by_factor = _mm512_castsi128_si512(_mm_setr_epi32(-kOffset, -kOffset / 2, kByThird, -kOffset / 4));
    const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block.factors));
    const Int factors = _mm512_cvtepi8_epi32(_mm_unpacklo_epi8(eight, eight));
    const Int multipliers = _mm512_permutexvar_epi32(_mm512_sub_epi32(factors, _mm512_set1_epi32(1)), by_factor);
    const __m256i sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block.group_sums));
    _mm512_store_si512(starts, _mm512_mullo_epi32(_mm512_cvtepi16_epi32(sums), multipliers));
  }
  // Bytes times the low word of the scale of their lane, modulo 256.
  static SLUICE_INLINE Int ScaledBytes(Int codes, Int scale) {
    const Int both = _mm512_or_si512(scale, _mm512_slli_epi32(scale, 16));
    const Int high = _mm512_set1_epi16(static_cast<int16_t>(0xff00));
    const Int odd = _mm512_mullo_epi16(_mm512_and_si512(codes, high), both);
    return _mm512_ternarylogic_epi32(high, odd, _mm512_mullo_epi16(codes, both), 0xca);
  }
  // The sub-scales become a part of the codes. With an offset the products are
  // negative, so that -4 times -32 fits int8, and so is the unit.
  static SLUICE_INLINE void Fold(Int scale, Int* codes) {
    if constexpr (kOffset != 0) scale = _mm512_sub_epi16(_mm512_setzero_si512(), scale);
    scale = _mm512_and_si512(scale, _mm512_set1_epi32(0xffff));
    static_assert(!kFolded || kOffset == 0 || kOffset == 4);
    const Int excess = ScaledBytes(_mm512_set1_epi8(kOffset), scale);
    const Int added = _mm512_sub_epi8(_mm512_set1_epi8(static_cast<char>(kFoldedOffset)), excess);
    SLUICE_UNROLL
    for (int k = 0; k < F::kGroupDwords; ++k) {
      codes[k] = ScaledBytes(codes[k], scale);
      if constexpr (kOffset != 0) codes[k] = _mm512_add_epi8(codes[k], added);
    }
  }
  static SLUICE_INLINE void SetScales(Int scale, Int* multiples) {
    if constexpr (kWords) scale = _mm512_and_si512(scale, _mm512_set1_epi32(0xffff));
    multiples[0] = scale;
    SLUICE_UNROLL
    for (int f = 1; f < kFactors<F>; ++f) {
      multiples[f] = kWords ? _mm512_add_epi16(multiples[f - 1], scale) : _mm512_add_epi32(multiples[f - 1], scale);
    }
  }
};

// A MatMulFn. Words is Avx512 or what is derived from it.
template <class F, class Words = Avx512>
void Avx512MatMul(const MatMulArgs& args) {
  if constexpr (F::template Panel<Words>::kBlocks == 1) {
    TiledMatMul<Avx512Plan256<F, Words>, Words>(args);
  } else {
    TiledMatMul<Avx512Plan32<F, Words>, Words>(args);
  }
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_TILES_AVX512_H_
