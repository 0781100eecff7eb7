// How AVX2 takes each format in tiles; the frame is compute/simd_tiles.h.
#ifndef SLUICE_COMPUTE_SIMD_TILES_AVX2_H_
#define SLUICE_COMPUTE_SIMD_TILES_AVX2_H_

#include <cstdint>

#include "compute/activations.h"
#include "compute/simd_avx2.h"
#include "compute/simd_tiles.h"

namespace sluice {
namespace {

template <class F, int kDwords>
SLUICE_INLINE void TakeOffsetOff(__m256i* codes) {
  if constexpr (F::kOffset != 0) {
    const __m256i minus = _mm256_set1_epi8(static_cast<char>(-F::kOffset));
    SLUICE_UNROLL
    for (int k = 0; k < kDwords; ++k) codes[k] = _mm256_add_epi8(codes[k], minus);
  }
}

// Parts are int16 sums of pairs of products, modulo 2^16: a start and biased
// activations may leave int16 on the way, the true sum of a step must not. Codes of
// full range take int32 parts, and the sign of a code goes to the activation.
template <class Format>
struct Avx2Plan {
  using F = Format;
  using V = Avx2;
  using Int = __m256i;
  static constexpr int kTileRows = 4;
  static constexpr int kLeastTileRows = 3;
  static constexpr int kPairs = 1;
  static constexpr int kFewRows = 6;
  static constexpr bool kPanelStarts = !F::kMinimums && !F::kWide;
  static constexpr bool kRowStarts = false;
  static constexpr bool kHasHarsh = false;
  static constexpr int kMagnitude = F::kWide ? F::kMaxCode : kCodeMagnitude<F>;
  static_assert(F::kWide || 2 * 255 * kMagnitude <= 32767, "a pair of products saturates");
  // Dwords of codes whose products surely fit int16.
  static constexpr int kExactDwords = 32767 / (2 * 127 * kMagnitude);

  static SLUICE_INLINE Int Dot(Int part, Int codes, Int values) {
    if constexpr (F::kWide) return Avx2Products<255, true>::Dot(part, codes, values);
    const Int pairs = kPanelStarts ? _mm256_maddubs_epi16(values, codes) : _mm256_maddubs_epi16(codes, values);
    return Avx2::Here(_mm256_add_epi16(part, pairs));
  }
  static SLUICE_INLINE Int PairsAdded(Int part) { return _mm256_madd_epi16(part, _mm256_set1_epi16(1)); }
  // -128 times the sums of pairs of codes.
  template <int kDwords>
  static SLUICE_INLINE Int StartOf(const Int* codes) {
    const Int bias = _mm256_set1_epi8(static_cast<char>(0x80));
    Int sum = _mm256_setzero_si256();
    SLUICE_UNROLL
    for (int k = 0; k < kDwords; ++k) sum = _mm256_sub_epi16(sum, _mm256_maddubs_epi16(bias, codes[k]));
    return sum;
  }
};

template <class Format>
struct Avx2Plan32 : Avx2Plan<Format> {
  using Base = Avx2Plan<Format>;
  using Int = __m256i;
  static SLUICE_INLINE Int Finish(Int (&codes)[8]) {
    TakeOffsetOff<Format, 8>(codes);
    return Base::template StartOf<8>(codes);
  }
  static SLUICE_INLINE Int Total(Int part) { return Format::kWide ? part : Base::PairsAdded(part); }
};

template <class Format>
struct Avx2Plan256 : Avx2Plan<Format> {
  using Base = Avx2Plan<Format>;
  using F = Format;
  using Int = __m256i;
  using Base::kExactDwords;
  using Base::kPanelStarts;
  static constexpr int kStep = F::kWide || kExactDwords >= F::kGroupDwords ? F::kGroupDwords
                               : kExactDwords >= 4                         ? 4
                               : kExactDwords >= 2                         ? 2
                                                                           : 1;
  static constexpr bool kFolded = false;
  static_assert(!F::kFactors || !F::kWide);

  template <bool kHarsh>
  static SLUICE_INLINE Int AddStep(Int sum, Int part, Int scale) {
    if constexpr (F::kWide) return Avx2Products<255, true>::AddScaled(sum, part, scale);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(part, scale));
  }

  template <class Tile>
  static SLUICE_INLINE void Finish(const Header256<Avx2>& header, Tile* tile) {
    TakeOffsetOff<Format, kCodeDwords>(tile->codes);
    for (int g = 0; g < kCodeDwords / F::kGroupDwords; ++g) {
      Int* multiples = tile->scales[g];
      multiples[0] = header.scales[g];
      SLUICE_UNROLL
      for (int f = 1; f < kFactors<F>; ++f) multiples[f] = _mm256_add_epi16(multiples[f - 1], header.scales[g]);
    }
    for (int s = 0; kPanelStarts && s < kCodeDwords / kStep; ++s) {
      tile->starts[s] = Base::template StartOf<kStep>(tile->codes + s * kStep);
    }
  }
};

// A MatMulFn.
template <class F>
void Avx2MatMul(const MatMulArgs& args) {
  if constexpr (F::template Panel<Avx2>::kBlocks == 1) {
    TiledMatMul<Avx2Plan256<F>, Avx2>(args);
  } else if constexpr (F::kWide || Avx2Plan32<F>::kExactDwords >= 8) {
    TiledMatMul<Avx2Plan32<F>, Avx2>(args);
  } else {
    PanelMatMul<Avx2, F>(args);  // q5_1
  }
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_TILES_AVX2_H_
