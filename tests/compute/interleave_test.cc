#include "compute/interleave.h"

#include <doctest/doctest.h>

#include <vector>

namespace sluice {
namespace {

// Where byte `offset` of a block of iq2_xs stands before anything else is done: words of indices are parted.
size_t PartedOffset(size_t offset) {
  if (offset < 2 || offset >= 66) return offset;
  const size_t eight = (offset - 2) / 8, word = (offset - 2) % 8 / 2, high = (offset - 2) % 2;
  return 2 + 8 * eight + 4 * high + word;
}

// Byte `offset` of block `block` of row `row`, where the header of the format says it is.
size_t PlaceOf(size_t block_bytes, size_t row, size_t block, size_t offset) {
  const size_t head = block_bytes % 4, begin = block * block_bytes * kInterleavedRows;
  if (offset < head) return begin + row * head + offset;
  const size_t field = (offset - head) / 4;
  return begin + head * kInterleavedRows + field * 4 * kInterleavedRows + row * 4 + (offset - head) % 4;
}

TEST_CASE("each byte of a panel goes to its place, with and without a half in front of the dwords") {
  for (TensorType type : {TensorType::kIQ2XS, TensorType::kIQ1M, TensorType::kQ6K, TensorType::kQ4_0}) {
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
      const size_t offset = type == TensorType::kIQ2XS ? PartedOffset(in_row % block_bytes) : in_row % block_bytes;
      const size_t place = PlaceOf(block_bytes, i / row_bytes, in_row / block_bytes, offset);
      REQUIRE(panel[place] == filed[i]);
      moved += place != i ? 1 : 0;
    }
    CHECK(moved > filed.size() / 2);
  }
}

}  // namespace
}  // namespace sluice
