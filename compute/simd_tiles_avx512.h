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

// Codes of full range as they are.
template <class Words>
struct Avx512Signed : Words {
  static constexpr int kWideBias = 0;
};

template <class Format, class Words>
struct Avx512Plan {
  using F = Format;
  using V = std::conditional_t<F::kWide, Avx512Signed<Words>, Words>;
  using Int = __m512i;
  static constexpr int kTileRows = 6;
  static constexpr int kPairs = 2;
  static constexpr int kFewRows = 24;
  static constexpr bool kSigned = !F::kMinimums;
  static constexpr int kMagnitude = F::kWide ? 128 : kCodeMagnitude<F>;

  static SLUICE_INLINE Int Dot(Int sum, Int codes, Int values) {
    return kSigned ? _mm512_dpbusd_epi32(sum, values, codes) : _mm512_dpbusd_epi32(sum, codes, values);
  }
  // -128 times the sum of the codes.
  template <int kDwords>
  static SLUICE_INLINE Int StartOf(const Int* codes) {
    constexpr int kSums = kDwords < 4 ? kDwords : 4;
    const Int bias = _mm512_set1_epi8(static_cast<char>(0x80));
    Int sums[kSums];
    SLUICE_UNROLL
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), bias, codes[i]);
    SLUICE_UNROLL
    for (int k = kSums; k < kDwords; ++k) sums[k % kSums] = _mm512_dpbusd_epi32(sums[k % kSums], bias, codes[k]);
    SLUICE_UNROLL
    for (int i = 1; i < kSums; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    return _mm512_sub_epi32(_mm512_setzero_si512(), sums[0]);
  }
};

template <class Format, class Words>
struct Avx512Plan32 : Avx512Plan<Format, Words> {
  using Base = Avx512Plan<Format, Words>;
  using Int = __m512i;

  static SLUICE_INLINE Int Finish(Int (&codes)[8]) {
    TakeOffsetOff<typename Base::V, Format, 8>(codes);
    if constexpr (!Base::kSigned) return _mm512_setzero_si512();
    return Base::template StartOf<8>(codes);
  }
  static SLUICE_INLINE Int Total(Int part) { return part; }
};

// Steps are what is summed before the sub-scale; int16 steps are scaled and added
// by one instruction, int32 ones take the work of three.
template <class Format, class Words>
struct Avx512Plan256 : Avx512Plan<Format, Words> {
  using Base = Avx512Plan<Format, Words>;
  using F = Format;
  using Int = __m512i;
  using Base::kMagnitude;
  using Base::kSigned;
  // Dwords of codes whose products surely fit int16, a power of two.
  static constexpr int kExact = 32767 / (4 * 127 * kMagnitude);
  static constexpr int kWordDwords = kExact >= 4 ? 4 : kExact >= 2 ? 2 : 1;
  static constexpr bool kFolded = F::kFoldScales;
  static constexpr bool kWords = !kFolded && F::kGroupDwords / kWordDwords < 3;
  static constexpr int kStep = kWords ? kWordDwords : F::kGroupDwords;
  // Each step has its own start only where steps must fit int16.
  static constexpr int kStarts = kWords && kSigned ? kCodeDwords / kStep : 1;

  // Longer steps for activations that are not all large: int16 holds these too where
  // the sum of magnitudes does not exceed kMildSum (of 2032 for sixteen).
  static constexpr int kMildStep = F::kGroupDwords == 8 && kMagnitude <= 16 ? 8 : 4;
  static constexpr int kMildSum = 32767 / kMagnitude;
  static constexpr bool kHasMild = !kFolded && kMildSum >= 250 * kMildStep && (kWords ? kMildStep > kStep : !kSigned);
  static constexpr int kMildStarts = kHasMild && kSigned ? kCodeDwords / kMildStep : 1;

  static_assert(!F::kFactors || kWords || !kSigned, "a start for all of a block knows no factors");
  static_assert(!F::kFactors || !kFolded);

  template <bool kMild>
  static constexpr int kStepDwords = kMild ? kMildStep : kStep;
  template <bool kMild>
  static constexpr bool kStepsStart = kSigned && (kMild || kWords);

  template <bool kMild>
  static SLUICE_INLINE Int AddStep(Int sum, Int part, Int scale) {
    if constexpr (kMild || kWords) return _mm512_dpwssd_epi32(sum, part, scale);
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
      if constexpr (kMildStep == 8) sums = _mm512_add_epi64(sums, _mm512_shuffle_i32x4(sums, sums, 0xb1));
      const uint32_t lanes = _mm512_cmpgt_epi64_mask(sums, _mm512_set1_epi64(kMildSum));
      harsh |= ((lanes & 1) | (lanes >> 1 & 2) | (lanes >> 2 & 4) | (lanes >> 3 & 8)) << (4 * i);
    }
    return harsh;
  }

  template <class Tile>
  static SLUICE_INLINE void Finish(const Header256<typename Base::V>& header, Tile* tile) {
    if constexpr (kFolded && kSigned) tile->unit = _mm512_sub_ps(_mm512_set1_ps(-0.0f), tile->unit);
    Int total = _mm512_setzero_si512();
    for (int g = 0; g < kCodeDwords / F::kGroupDwords; ++g) {
      Int* codes = tile->codes + g * F::kGroupDwords;
      TakeOffsetOff<typename Base::V, Format, F::kGroupDwords>(codes);
      if constexpr (kFolded) Fold(header.scales[g], codes);
      SetScales(header.scales[g], tile->scales[g]);
      if constexpr (kSigned) SetStarts(g, codes, tile, &total);
    }
    if constexpr (kSigned && !kWords) tile->starts[0] = total;
    if constexpr (kSigned && kHasMild) SetMildStarts(tile);
  }

 private:
  static SLUICE_INLINE uint32_t HarshMagnitudes(const uint8_t* magnitudes) {
    constexpr int kMildEighths = kMildSum / 8;
    const __m128i eighths = _mm_loadu_si128(reinterpret_cast<const __m128i*>(magnitudes));
    if constexpr (kMildStep == 8) {
      const __m128i sums = _mm_maddubs_epi16(eighths, _mm_set1_epi8(1));
      return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpgt_epi16(sums, _mm_set1_epi16(kMildEighths))));
    }
    if constexpr (kMildEighths > 255) return 0;
    return _mm_cmpgt_epu8_mask(eighths, _mm_set1_epi8(static_cast<char>(kMildEighths)));
  }
  // Bytes times the low word of the scale of their lane, modulo 256.
  static SLUICE_INLINE Int ScaledBytes(Int codes, Int scale) {
    const Int both = _mm512_or_si512(scale, _mm512_slli_epi32(scale, 16));
    const Int high = _mm512_set1_epi16(static_cast<int16_t>(0xff00));
    const Int odd = _mm512_mullo_epi16(_mm512_and_si512(codes, high), both);
    return _mm512_ternarylogic_epi32(high, odd, _mm512_mullo_epi16(codes, both), 0xca);
  }
  // The sub-scales become a part of the codes. For signed ones the products are
  // negative, so that -4 times -32 fits int8, and so is the unit.
  static SLUICE_INLINE void Fold(Int scale, Int* codes) {
    if constexpr (kSigned) scale = _mm512_sub_epi16(_mm512_setzero_si512(), scale);
    scale = _mm512_and_si512(scale, _mm512_set1_epi32(0xffff));
    SLUICE_UNROLL
    for (int k = 0; k < F::kGroupDwords; ++k) codes[k] = ScaledBytes(codes[k], scale);
  }
  static SLUICE_INLINE void SetScales(Int scale, Int* multiples) {
    if constexpr (kWords) scale = _mm512_and_si512(scale, _mm512_set1_epi32(0xffff));
    multiples[0] = scale;
    SLUICE_UNROLL
    for (int f = 1; f < kFactors<F>; ++f) {
      multiples[f] = kWords ? _mm512_add_epi16(multiples[f - 1], scale) : _mm512_add_epi32(multiples[f - 1], scale);
    }
  }
  template <class Tile>
  static SLUICE_INLINE void SetStarts(int g, const Int* codes, Tile* tile, Int* total) {
    if constexpr (kWords) {
      constexpr int kSteps = F::kGroupDwords / kStep;
      SLUICE_UNROLL
      for (int s = 0; s < kSteps; ++s) tile->starts[g * kSteps + s] = Base::template StartOf<kStep>(codes + s * kStep);
    } else {
      const Int start = Base::template StartOf<F::kGroupDwords>(codes);
      *total = kFolded ? _mm512_add_epi32(*total, start) : AddStep<false>(*total, start, tile->scales[g][0]);
    }
  }
  // The starts of longer steps are sums of those of the shorter ones.
  template <class Tile>
  static SLUICE_INLINE void SetMildStarts(Tile* tile) {
    constexpr int kEach = kMildStep / kStep;
    for (int s = 0; s < kCodeDwords / kMildStep; ++s) {
      Int sum = tile->starts[s * kEach];
      for (int i = 1; i < kEach; ++i) sum = _mm512_add_epi32(sum, tile->starts[s * kEach + i]);
      tile->mild_starts[s] = sum;
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
