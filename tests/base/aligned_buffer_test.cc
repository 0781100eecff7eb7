#include "base/aligned_buffer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace sluice {
namespace {

TEST_CASE("memory is aligned, zero and writable to its last byte") {
  for (size_t alignment : {64, 4096, 16384, 1 << 21}) {
    for (size_t size : {1, 4095, 4096, 4097, 1 << 20}) {
      auto buffer = AlignedBuffer::Create(size, alignment);
      REQUIRE(buffer.ok());
      CHECK(buffer->size_bytes() == size);
      CHECK(reinterpret_cast<uintptr_t>(buffer->data()) % alignment == 0);
      CHECK(std::all_of(buffer->data(), buffer->data() + size, [](uint8_t byte) { return byte == 0; }));
      std::fill_n(buffer->data(), size, uint8_t{0xff});
    }
  }
}

TEST_CASE("no bytes are no memory") {
  auto buffer = AlignedBuffer::Create(0);
  REQUIRE(buffer.ok());
  CHECK(buffer->data() == nullptr);
  CHECK(buffer->size_bytes() == 0);
}

TEST_CASE("more than the machine can map is refused with the cure") {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  for (size_t size : {kMost, kMost - 4095, kMost - 8192, kMost / 2, size_t{1} << 60}) {
    for (size_t alignment : {4096, 1 << 21}) {
      const auto buffer = AlignedBuffer::Create(size, alignment);
      REQUIRE(absl::IsResourceExhausted(buffer.status()));
      CHECK(buffer.status().message().find("--ram") != absl::string_view::npos);
    }
  }
}

TEST_CASE("moving hands the memory over") {
  AlignedBuffer first = *AlignedBuffer::Create(100);
  uint8_t* const data = first.data();
  data[99] = 7;
  AlignedBuffer second(std::move(first));
  CHECK(second.data() == data);
  CHECK(second.data()[99] == 7);
  AlignedBuffer third = *AlignedBuffer::Create(5000);
  third = std::move(second);
  CHECK(third.data() == data);
  CHECK(third.size_bytes() == 100);
}

}  // namespace
}  // namespace sluice
