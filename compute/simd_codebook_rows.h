// Few rows of activations and code-book types on AVX2: output by output.
//
// Look-ups give the codes of one output in their order, and here activations meet them
// as they are. To put the codes of eight outputs into lanes first, as panels do
// (compute/simd_codebooks.h), takes longer than the products of a few rows. The
// unsigned operand of a product is the magnitude of a code; activations take its sign.
// What look-ups need of a block (indices, signs, sub-scales) is made for all of it at
// once: taken apart entry by entry it is half of the work.
//
// Linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_CODEBOOK_ROWS_H_
#define SLUICE_COMPUTE_SIMD_CODEBOOK_ROWS_H_

#include <immintrin.h>

#include <cstdint>
#include <iterator>

#include "compute/activations.h"
#include "compute/kernel_set.h"
#include "compute/simd_avx2.h"
#include "compute/simd_codebooks.h"
#include "compute/simd_common.h"

namespace sluice {
namespace {

// A block taken apart, but for its entries.
struct Opened {
  alignas(32) uint16_t indices[64];  // of the entries
  alignas(32) uint8_t signs[32];     // by eight codes: a bit for each negative one; of kDelta rows 1 or -1
  alignas(32) uint32_t scales[8];    // of 32 codes, in both words
  __m256i halves;                    // or words, of 16 codes each: even ones in the lower half, odd ones in the upper
};

SLUICE_INLINE __m256i LoadBytes32(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
SLUICE_INLINE __m128i LoadBytes16(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
SLUICE_INLINE __m128i LoadBytes8(const void* from) { return _mm_loadl_epi64(static_cast<const __m128i*>(from)); }
SLUICE_INLINE void StoreBytes32(__m256i bytes, void* to) { _mm256_store_si256(static_cast<__m256i*>(to), bytes); }
SLUICE_INLINE __m256i BothHalves(__m128i bytes) { return _mm256_broadcastsi128_si256(bytes); }
SLUICE_INLINE __m256i Words(int w0, int w1, int w2, int w3) {
  return _mm256_set1_epi64x(w0 | static_cast<int64_t>(w1) << 16 | static_cast<int64_t>(w2) << 32 |
                            static_cast<int64_t>(w3) << 48);
}

// Dwords that hold small numbers become odd ones.
SLUICE_INLINE void OpenScales(__m256i numbers, Opened* opened) {
  const __m256i odd = _mm256_or_si256(_mm256_add_epi32(numbers, numbers), _mm256_set1_epi32(1));
  StoreBytes32(_mm256_or_si256(odd, _mm256_slli_epi32(odd, 16)), opened->scales);
}
SLUICE_INLINE __m256i OddWords(__m256i numbers) {
  return _mm256_or_si256(_mm256_add_epi16(numbers, numbers), _mm256_set1_epi16(1));
}
// The nibbles of eight bytes.
SLUICE_INLINE __m256i HalvesOfNibbles(const uint8_t* bytes) {
  const __m128i words = _mm_cvtepu8_epi16(LoadBytes8(bytes));
  return OddWords(_mm256_set_m128i(_mm_srli_epi16(words, 4), _mm_and_si128(words, _mm_set1_epi16(15))));
}
// Sixteen indices: bytes, below bits that are there already.
SLUICE_INLINE void OpenIndices(const uint8_t* low, __m256i high, uint16_t* indices) {
  StoreBytes32(_mm256_or_si256(_mm256_cvtepu8_epi16(LoadBytes16(low)), high), indices);
}

// Open() takes a block apart; Signs() and Entry() tell where the rest comes from.
template <class Row>
struct Opener;

struct OpenedSigns {
  static SLUICE_INLINE const uint8_t* Signs(const uint8_t*, const Opened& opened) { return opened.signs; }
};
template <int kAt>
struct SignsOfBlock {
  static SLUICE_INLINE const uint8_t* Signs(const uint8_t* block, const Opened&) { return block + kAt; }
};
// Of eight codes, or of four; Opened has the index.
template <class T, const auto& kGrid>
struct IndexedEntries {
  static SLUICE_INLINE T Entry(const uint8_t*, const Opened& opened, int i) {
    return EntryOf<T>(kGrid, opened.indices[i]);
  }
};

template <>
struct Opener<RowIq2Xxs> : OpenedSigns {
  static SLUICE_INLINE void Open(const uint8_t* block, Opened* opened) {
    const __m256 first = _mm256_castsi256_ps(LoadBytes32(block + 2));
    const __m256 second = _mm256_castsi256_ps(LoadBytes32(block + 34));
    const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xdd));
    const __m256i words = _mm256_permute4x64_epi64(odd, 0xd8);
    StoreBytes32(SignsOfSevens<Avx2>(words), opened->signs);
    OpenScales(_mm256_srli_epi32(words, 28), opened);
  }
  static SLUICE_INLINE uint64_t Entry(const uint8_t* block, const Opened&, int i) {
    return EntryOf<uint64_t>(kIq2XxsGrid, block[2 + i + i / 4 * 4]);
  }
};

template <>
struct Opener<RowIq2Xs> : OpenedSigns, IndexedEntries<uint64_t, kIq2XsGrid> {
  static SLUICE_INLINE void Open(const uint8_t* block, Opened* opened) {
    const __m256i first = LoadBytes32(block + 2), second = LoadBytes32(block + 34);
    StoreBytes32(_mm256_and_si256(first, _mm256_set1_epi16(511)), opened->indices);
    StoreBytes32(_mm256_and_si256(second, _mm256_set1_epi16(511)), opened->indices + 16);
    const __m256i sevens = _mm256_packus_epi16(_mm256_srli_epi16(first, 9), _mm256_srli_epi16(second, 9));
    StoreBytes32(WithEighthSign<Avx2>(_mm256_permute4x64_epi64(sevens, 0xd8)), opened->signs);
    opened->halves = HalvesOfNibbles(block + 66);
  }
};

template <>
struct Opener<RowIq2S> : SignsOfBlock<34>, IndexedEntries<uint64_t, kIq2SGrid> {
  static SLUICE_INLINE void Open(const uint8_t* block, Opened* opened) {
    // A byte for each four indices.
    const __m256i high = BothHalves(LoadBytes8(block + 66));
    const auto words = [&](int b) {
      return _mm256_shuffle_epi8(
          high, _mm256_setr_epi64x(FourOfByte(b), FourOfByte(b + 1), FourOfByte(b + 2), FourOfByte(b + 3)));
    };
    OpenIndices(block + 2, Twos(words(0)), opened->indices);
    OpenIndices(block + 18, Twos(words(4)), opened->indices + 16);
    opened->halves = HalvesOfNibbles(block + 74);
  }

 private:
  // Places of a byte shuffle: byte b in the low half of four words.
  static constexpr int64_t FourOfByte(int b) {
    return static_cast<int64_t>(0x8000800080008000u + static_cast<uint64_t>(b) * 0x0001000100010001u);
  }
  // Two bits of each word, the lowest first, as bits 8 and 9.
  static SLUICE_INLINE __m256i Twos(__m256i words) {
    return _mm256_and_si256(_mm256_mullo_epi16(words, Words(256, 64, 16, 4)), _mm256_set1_epi16(0x300));
  }
};

template <>
struct Opener<RowIq3Xxs> : OpenedSigns {
  static SLUICE_INLINE void Open(const uint8_t* block, Opened* opened) {
    const __m256i words = LoadBytes32(block + 66);
    StoreBytes32(SignsOfSevens<Avx2>(words), opened->signs);
    OpenScales(_mm256_srli_epi32(words, 28), opened);
  }
  static SLUICE_INLINE uint32_t Entry(const uint8_t* block, const Opened&, int i) {
    return EntryOf<uint32_t>(kIq3XxsGrid, block[2 + i]);
  }
};

template <>
struct Opener<RowIq3S> : SignsOfBlock<74>, IndexedEntries<uint32_t, kIq3SGrid> {
  static SLUICE_INLINE void Open(const uint8_t* block, Opened* opened) {
    // A byte for each eight indices.
    const __m256i high = BothHalves(LoadBytes8(block + 66));
    for (int i = 0; i < 4; ++i) {
      const __m256i bytes = _mm256_set_m128i(_mm_set1_epi16(static_cast<int16_t>(0x8001 + 2 * i)),
                                             _mm_set1_epi16(static_cast<int16_t>(0x8000 + 2 * i)));
      const __m256i multiples = BothHalves(_mm_setr_epi16(256, 128, 64, 32, 16, 8, 4, 2));
      const __m256i ninth = _mm256_mullo_epi16(_mm256_shuffle_epi8(high, bytes), multiples);
      OpenIndices(block + 2 + 16 * i, _mm256_and_si256(ninth, _mm256_set1_epi16(256)), opened->indices + 16 * i);
    }
    const __m256i nibbles =
        _mm256_srlv_epi32(Avx2::Broadcast(block + 106), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    OpenScales(_mm256_and_si256(nibbles, _mm256_set1_epi32(15)), opened);
  }
};

template <>
struct Opener<RowIq1S> : OpenedSigns, IndexedEntries<uint64_t, kIq1Grid> {
  static SLUICE_INLINE void Open(const uint8_t* block, Opened* opened) {
    const __m128i words = LoadBytes16(block + 34);
    // A word for each four indices.
    const __m256i first =
        _mm256_setr_epi64x(0x0100010001000100, 0x0302030203020302, 0x0504050405040504, 0x0706070607060706);
    const __m256i second = _mm256_add_epi8(first, _mm256_set1_epi8(8));
    OpenIndices(block + 2, Threes(_mm256_shuffle_epi8(BothHalves(words), first)), opened->indices);
    OpenIndices(block + 18, Threes(_mm256_shuffle_epi8(BothHalves(words), second)), opened->indices + 16);
    const __m256i dwords = _mm256_cvtepi16_epi32(words);
    StoreBytes32(_mm256_or_si256(_mm256_srai_epi32(dwords, 31), _mm256_set1_epi8(1)), opened->signs);
    OpenScales(_mm256_and_si256(_mm256_srli_epi32(dwords, 12), _mm256_set1_epi32(7)), opened);
  }

 private:
  // Three bits of each word, the lowest first, as bits 8 to 10.
  static SLUICE_INLINE __m256i Threes(__m256i words) {
    const __m256i top = _mm256_mullo_epi16(words, Words(4096, 512, 64, 8));
    return _mm256_and_si256(_mm256_srli_epi16(top, 4), _mm256_set1_epi16(0x700));
  }
};

template <>
struct Opener<RowIq1M> : OpenedSigns, IndexedEntries<uint64_t, kIq1Grid> {
  static SLUICE_INLINE void Open(const uint8_t* block, Opened* opened) {
    // A nibble for each index: three bits of it, and the sign of its delta.
    const __m256i bytes = _mm256_cvtepu8_epi16(LoadBytes16(block + 32));
    const __m256i nibbles = _mm256_or_si256(bytes, _mm256_slli_epi16(bytes, 4));  // the upper ones in byte 1
    const __m256i high = _mm256_and_si256(nibbles, _mm256_set1_epi16(0x0707));
    OpenIndices(block, HighBytes(_mm256_castsi256_si128(high)), opened->indices);
    OpenIndices(block + 16, HighBytes(_mm256_extracti128_si256(high, 1)), opened->indices + 16);
    const __m256i eight = _mm256_set1_epi8(8);
    const __m256i negative = _mm256_cmpeq_epi8(_mm256_and_si256(nibbles, eight), eight);
    StoreBytes32(_mm256_or_si256(negative, _mm256_set1_epi8(1)), opened->signs);
    const __m128i words = LoadBytes8(block + 48);
    const __m256i top = _mm256_mullo_epi16(BothHalves(_mm_unpacklo_epi16(words, words)), Multiples());
    opened->halves = OddWords(_mm256_srli_epi16(top, 13));
  }

 private:
  static SLUICE_INLINE __m256i HighBytes(__m128i bytes) { return _mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), 8); }
  // Bring scale 0 or 2, in the upper half 1 or 3, of three bits each, to the top.
  static SLUICE_INLINE __m256i Multiples() {
    return _mm256_set_m128i(_mm_set1_epi32(1 << 10 | 1 << 20), _mm_set1_epi32(1 << 13 | 1 << 23));
  }
};

// 32 codes: their magnitudes, and bytes of the same signs that are not zero.
struct SignedCodes {
  __m256i magnitudes;
  __m256i signs;
};

template <class Row>
SLUICE_INLINE __m256i EntriesOf(const uint8_t* block, const Opened& opened, int b) {
  const auto entry = [&](int i) { return Opener<Row>::Entry(block, opened, i); };
  if constexpr (sizeof(entry(0)) == 4) {
    const auto half = [&](int i) { return static_cast<int32_t>(entry(8 * b + i)); };
    return _mm256_setr_epi32(half(0), half(1), half(2), half(3), half(4), half(5), half(6), half(7));
  } else {
    const auto whole = [&](int i) { return static_cast<int64_t>(entry(4 * b + i)); };
    return _mm256_setr_epi64x(whole(0), whole(1), whole(2), whole(3));
  }
}

template <class Row>
SLUICE_INLINE SignedCodes CodesOf(const uint8_t* block, const Opened& opened, int b) {
  const __m256i entries = EntriesOf<Row>(block, opened, b);
  const __m256i of_eight = Avx2::EightOfEach(DwordAt(Opener<Row>::Signs(block, opened) + 4 * b));
  if constexpr (!Row::kDelta) return {entries, _mm256_or_si256(Avx2::BytesOfBits(of_eight), _mm256_set1_epi8(1))};
  const __m256i eightfold = _mm256_and_si256(_mm256_slli_epi16(entries, 3), _mm256_set1_epi8(-8));
  const __m256i codes = _mm256_add_epi8(eightfold, of_eight);
  return {_mm256_abs_epi8(codes), codes};
}

// The sub-scales of sub-block b as the pairs of its codes want them.
template <class Row>
SLUICE_INLINE __m256i ScalesOf(const Opened& opened, int b) {
  if constexpr (Row::kGroupDwords == 8) return _mm256_set1_epi32(static_cast<int32_t>(opened.scales[b]));
  return _mm256_shuffle_epi8(opened.halves, _mm256_set1_epi16(static_cast<int16_t>(0x0100 + 0x0202 * b)));
}

SLUICE_INLINE int32_t SumOfLanes(__m256i lanes) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

template <class Row>
SLUICE_INLINE float UnitOf(const uint8_t* block) {
  uint32_t half = WordAt(block);
  if constexpr (Row::kBytes == RowIq1M::kBytes) {
    half = 0;
    for (int i = 0; i < 4; ++i) half |= WordAt(block + 48 + 2 * i) >> 12 << (4 * i);
  }
  return _cvtsh_ss(static_cast<uint16_t>(half)) * Row::kUnitFactor;
}

// Continues the chains of R rows and one output by one block.
template <class Row, int R>
SLUICE_INLINE void ContinueRows(const uint8_t* block, const Opened& opened, const Q8Block256* const (&rows)[R],
                                __m128 (&chains)[R]) {
  __m256i sums[R];
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) sums[r] = _mm256_setzero_si256();
  SLUICE_UNROLL
  for (int b = 0; b < 8; ++b) {
    const SignedCodes codes = CodesOf<Row>(block, opened, b);
    const __m256i scale = ScalesOf<Row>(opened, b);
    SLUICE_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m256i values = _mm256_load_si256(reinterpret_cast<const __m256i*>(rows[r]->values + 32 * b));
      const __m256i pairs = _mm256_maddubs_epi16(codes.magnitudes, _mm256_sign_epi8(values, codes.signs));
      sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs, scale));
    }
  }
  const float unit = UnitOf<Row>(block);
  SLUICE_UNROLL
  for (int r = 0; r < R; ++r) {
    const __m128 sum = _mm_set_ss(static_cast<float>(SumOfLanes(sums[r])));
    chains[r] = _mm_fmadd_ss(_mm_set_ss(unit * rows[r]->scale), sum, chains[r]);
  }
}

// Blocks opened ahead of their products, which else wait for it.
constexpr int64_t kOpenedBlocks = 8;

template <class Row, int R>
void RowsMatMul(const MatMulArgs& args) {
  const int64_t n_blocks = args.n_in / 256;
  const uint8_t* block = static_cast<const uint8_t*>(args.weights);
  Opened opened[kOpenedBlocks];
  for (int64_t o = 0; o < args.n_out; ++o) {
    const Q8Block256* rows[R];
    __m128 chains[R];
    for (int r = 0; r < R; ++r) {
      rows[r] = static_cast<const Q8Block256*>(args.activations[r]);
      chains[r] = _mm_setzero_ps();
    }
    for (int64_t first = 0; first < n_blocks; first += kOpenedBlocks) {
      const int64_t taken = n_blocks - first < kOpenedBlocks ? n_blocks - first : kOpenedBlocks;
      for (int64_t i = 0; i < taken; ++i) Opener<Row>::Open(block + i * Row::kBytes, &opened[i]);
      for (int64_t i = 0; i < taken; ++i, block += Row::kBytes) {
        ContinueRows<Row, R>(block, opened[i], rows, chains);
        for (int r = 0; r < R; ++r) ++rows[r];
      }
    }
    for (int r = 0; r < R; ++r) args.outputs[r][o] = _mm_cvtss_f32(chains[r]);
  }
}

// More rows than this are taken in tiles, which then do as many operations a cycle: 17
// to 21 in five rows or six.
constexpr int64_t kFewCodebookRows = 4;

// A MatMulFn.
template <class Row>
void FewRowsMatMul(const MatMulArgs& args) {
  static constexpr MatMulFn kRun[] = {RowsMatMul<Row, 1>, RowsMatMul<Row, 2>, RowsMatMul<Row, 3>, RowsMatMul<Row, 4>};
  static_assert(std::size(kRun) == kFewCodebookRows);
  kRun[args.n_rows - 1](args);
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_CODEBOOK_ROWS_H_
