#include "base/arena.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"

namespace sluice {
namespace {

struct Odd {
  char bytes[7];
};

// The same pieces from any arena.
template <typename Visit>
void TakeSome(Arena* arena, const Visit& visit) {
  visit(reinterpret_cast<uint8_t*>(arena->Take<float>(3)), 3 * sizeof(float));
  visit(reinterpret_cast<uint8_t*>(arena->Take<Odd>(11)), 11 * sizeof(Odd));
  visit(reinterpret_cast<uint8_t*>(arena->Take<uint8_t>(0)), 0);
  visit(reinterpret_cast<uint8_t*>(arena->Take<uint8_t>(64)), 64);
  visit(reinterpret_cast<uint8_t*>(arena->Take<int64_t>(100)), 100 * sizeof(int64_t));
}

TEST_CASE("counting and taking come to the same number of bytes") {
  Arena counting;
  TakeSome(&counting, [](uint8_t* piece, size_t) { CHECK(piece == nullptr); });
  CHECK(counting.used_bytes() == 64 + 128 + 0 + 64 + 832);
  AlignedBuffer memory = *AlignedBuffer::Create(counting.used_bytes());
  Arena arena(memory.data(), memory.size_bytes());
  TakeSome(&arena, [](uint8_t*, size_t) {});
  CHECK(arena.used_bytes() == counting.used_bytes());
}

TEST_CASE("pieces are aligned, inside the block and do not overlap") {
  AlignedBuffer memory = *AlignedBuffer::Create(4096);
  Arena arena(memory.data(), memory.size_bytes());
  const uint8_t* end = memory.data();
  TakeSome(&arena, [&](uint8_t* piece, size_t bytes) {
    CHECK(reinterpret_cast<uintptr_t>(piece) % 64 == 0);
    CHECK(piece >= end);
    end = piece + bytes;
    CHECK(end <= memory.data() + memory.size_bytes());
  });
}

}  // namespace
}  // namespace sluice
