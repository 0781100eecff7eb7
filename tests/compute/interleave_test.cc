#include "compute/interleave.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "compute/codebooks.h"

namespace sluice {
namespace {

// Byte `offset` of block `block` of row `row`, where the header of the format says it is.
size_t PlaceOf(size_t block_bytes, size_t row, size_t block, size_t offset) {
  const size_t head = block_bytes % 4, begin = block * block_bytes * kInterleavedRows;
  if (offset < head) return begin + row * head + offset;
  const size_t field = (offset - head) / 4;
  return begin + head * kInterleavedRows + field * 4 * kInterleavedRows + row * 4 + (offset - head) % 4;
}

TEST_CASE("each byte of a panel goes to its place, with and without a half in front of the dwords") {
  for (TensorType type : {TensorType::kIQ2XXS, TensorType::kQ4K, TensorType::kQ6K, TensorType::kQ4_0}) {
    const int64_t n_in = 3 * InfoOf(type).block_elements;
    const size_t row_bytes = RowBytes(type, n_in), block_bytes = InfoOf(type).block_bytes;
    std::vector<uint8_t> filed(kInterleavedRows * row_bytes), scratch(filed.size());
    uint32_t state = 1;
    for (uint8_t& byte : filed) byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    std::vector<uint8_t> panel = filed;
    InterleavePanel(type, n_in, panel.data(), scratch.data());
    size_t moved = 0;
    for (size_t i = 0; i < filed.size(); ++i) {
      const size_t in_row = i % row_bytes;
      const size_t place = PlaceOf(block_bytes, i / row_bytes, in_row / block_bytes, in_row % block_bytes);
      REQUIRE(panel[place] == filed[i]);
      moved += place != i ? 1 : 0;
    }
    CHECK(moved > filed.size() / 2);
  }
}

template <size_t kSize>
void CheckLabels(const std::array<uint64_t, kSize>& labels, const std::array<uint32_t, kSize>& by_index,
                 const std::array<uint32_t, kSize>& by_label) {
  std::vector<int> uses(kSize);
  for (size_t i = 0; i < kSize; ++i) {
    const uint64_t label = (labels[i] & 0xff) | labels[i] >> 32 << 8;
    REQUIRE(label < kSize);
    ++uses[label];
    CHECK(by_label[label] == by_index[i]);
  }
  CHECK(std::count(uses.begin(), uses.end(), 1) == static_cast<int64_t>(kSize));
}

TEST_CASE("each entry of iq2_xs, iq2_s and iq1 has a label of its own, which stands for the same codes") {
  CheckLabels(kIq2XsLabels, kIq2XsHalves, kIq2XsHalvesByLabel);
  CheckLabels(kIq2SLabels, kIq2SHalves, kIq2SHalvesByLabel);
  CheckLabels(kIq1Labels, kIq1Halves, kIq1HalvesByLabel);
}

}  // namespace
}  // namespace sluice
