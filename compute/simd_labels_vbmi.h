// Halves of code-book entries by label, with permutations of bytes.
//
// The tables are those of compute/codebook_labels.h. Linkage as in compute/simd_avx512.h.
#ifndef SLUICE_COMPUTE_SIMD_LABELS_VBMI_H_
#define SLUICE_COMPUTE_SIMD_LABELS_VBMI_H_

#include <cstdint>

#include "compute/codebook_labels.h"
#include "compute/simd_codebooks_vbmi.h"

namespace sluice {
namespace {

// Which byte of a table four labels per lane take, where the table is one of squares, pairs or singles.
struct LabelLanes {
  Lanes squares, pairs, singles;
};
// Which groups they are in, by the bits of their number, and the bits of y.
template <int kGroupBits>
struct LabelMasks {
  __mmask64 y[2];
  __mmask64 groups[kGroupBits];
};

// Halves of the groups from kGroup up to kLast, where `found` is what labels of the groups from kFirst on found so far.
// Each replaces what labels with all of the bits of its number found before.
template <class Book, int kFirst, int kGroup, int kLast, int kGroupBits>
SLUICE_INLINE Lanes LookupGroups(const uint8_t* tables, const LabelLanes& lanes, const LabelMasks<kGroupBits>& masks,
                                 Lanes found) {
  const auto take = [&](__mmask64 where, Lanes index, int table) {
    found = _mm512_mask_permutexvar_epi8(found, where, index, _mm512_load_si512(tables + 64 * table));
  };
  __mmask64 where = ~__mmask64{0};
  SLUICE_UNROLL
  for (int i = 0; i < kGroupBits; ++i) {
    if (((kGroup - kFirst) >> i & 1) != 0) where &= masks.groups[i];
  }
  constexpr int kPair = Book::kSquares + 2 * kGroup - 1;
  if constexpr (kGroup == 0) {
    found = _mm512_permutexvar_epi8(lanes.singles, _mm512_load_si512(tables + 64 * Book::kSingles));
    take(masks.y[0], lanes.singles, Book::kSingles + 1);
    take(masks.y[1], lanes.pairs, kPair + 1);
  } else if constexpr (kGroup < Book::kPairGroups) {
    take(where, lanes.pairs, kPair);
    take(where & masks.y[1], lanes.pairs, kPair + 1);
  } else if constexpr (kGroup == kFirst) {
    found = _mm512_permutexvar_epi8(lanes.squares, _mm512_load_si512(tables + 64 * (kGroup - Book::kPairGroups)));
  } else {
    take(where, lanes.squares, kGroup - Book::kPairGroups);
  }
  if constexpr (kGroup + 1 < kLast) {
    found = LookupGroups<Book, kFirst, kGroup + 1, kLast>(tables, lanes, masks, found);
  }
  return found;
}

// Of many groups, the upper half are a chain of their own.
template <class Book, int kGroupBits>
SLUICE_INLINE Lanes LookupHalf(const uint8_t* tables, const LabelLanes& lanes, const LabelMasks<kGroupBits>& masks) {
  constexpr int kGroups = Book::kGroups;
  static_assert(kGroupBits == Book::kGroupBits);
  const Lanes none = _mm512_setzero_si512();
  if constexpr (kGroupBits < 3) {
    return LookupGroups<Book, 0, 0, kGroups>(tables, lanes, masks, none);
  } else {
    const Lanes low = LookupGroups<Book, 0, 0, kGroups / 2>(tables, lanes, masks, none);
    const Lanes high = LookupGroups<Book, kGroups / 2, kGroups / 2, kGroups>(tables, lanes, masks, none);
    return _mm512_mask_blend_epi8(masks.groups[kGroupBits - 1], low, high);
  }
}

// Both halves of the entries that four labels per lane stand for: their lower eight bits in its bytes, the bits of
// their groups in `groups`.
template <class Book, int kGroupBits>
SLUICE_INLINE void LookupLabels(const LabelHalves<Book>& halves, Lanes labels, const __mmask64 (&groups)[kGroupBits],
                                Lanes* first, Lanes* second) {
  const uint8_t* tables = reinterpret_cast<const uint8_t*>(&halves);
  LabelMasks<kGroupBits> masks = {{_mm512_test_epi8_mask(labels, _mm512_set1_epi8(0x40)), _mm512_movepi8_mask(labels)},
                                  {}};
  SLUICE_UNROLL
  for (int i = 0; i < kGroupBits; ++i) masks.groups[i] = groups[i];
  *first = LookupHalf<Book>(tables, {labels, labels, labels}, masks);
  const LabelLanes lanes = {_mm512_srli_epi16(labels, 2), _mm512_srli_epi16(labels, 1), labels};
  *second = LookupHalf<Book>(tables + 64 * Book::kTables, lanes, masks);
}

// Of each two bytes, what the even and the odd one are. They should differ: equal bytes the compiler loads one by one,
// which takes an operation of the port that permutations need.
SLUICE_INLINE Lanes BytePair(int even, int odd) { return _mm512_set1_epi16(static_cast<int16_t>(even | odd << 8)); }

// The same where the bits of the groups are in the bytes of `high` from bit kEven on, in odd bytes from bit kOdd on, as
// LabelsOfPart() has them.
template <class Book, int kEven, int kOdd>
SLUICE_INLINE void LookupPart(const LabelHalves<Book>& halves, Lanes labels, Lanes high, Lanes* first, Lanes* second) {
  __mmask64 groups[Book::kGroupBits];
  SLUICE_UNROLL
  for (int i = 0; i < Book::kGroupBits; ++i) {
    groups[i] = _mm512_test_epi8_mask(high, BytePair(1 << (kEven + i), 1 << (kOdd + i)));
  }
  LookupLabels<Book>(halves, labels, groups, first, second);
}

}  // namespace
}  // namespace sluice

#endif  // SLUICE_COMPUTE_SIMD_LABELS_VBMI_H_
