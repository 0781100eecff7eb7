// Hands out aligned pieces of one block of memory, in order, never to be returned.
//
// With a null base it only counts: the same constructors that lay out a
// workspace then tell the plan how many bytes it needs, so the two cannot
// disagree. Pieces are 64-byte aligned when the block is, and hold trivial types
// only.
#ifndef SLUICE_BASE_ARENA_H_
#define SLUICE_BASE_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/check.h"
#include "base/checked_math.h"

namespace sluice {

class Arena {
 public:
  // Counts only.
  Arena() = default;
  Arena(uint8_t* base, size_t capacity_bytes) : base_(base), capacity_bytes_(capacity_bytes) {}

  // Null when counting. Contents are whatever the block held (zero when fresh).
  template <typename T>
  T* Take(int64_t count) {
    static_assert(std::is_trivially_destructible_v<T>);
    uint64_t bytes = 0;
    SLUICE_CHECK(count >= 0 && CheckedMul(static_cast<uint64_t>(count), sizeof(T), &bytes));
    return reinterpret_cast<T*>(TakeBytes(bytes));
  }

  size_t used_bytes() const { return used_bytes_; }

 private:
  static constexpr size_t kAlignmentBytes = 64;

  // Sizes are bounded where keys are read: one that does not fit is a bug.
  uint8_t* TakeBytes(uint64_t bytes) {
    const uint64_t begin = used_bytes_;
    uint64_t end = 0;
    SLUICE_CHECK(CheckedAdd(begin, bytes, &end) && end <= ~uint64_t{kAlignmentBytes});
    used_bytes_ = AlignUp(end, kAlignmentBytes);
    SLUICE_CHECK(base_ == nullptr || used_bytes_ <= capacity_bytes_);
    return base_ == nullptr ? nullptr : base_ + begin;
  }

  uint8_t* base_ = nullptr;
  size_t capacity_bytes_ = 0;
  size_t used_bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_BASE_ARENA_H_
