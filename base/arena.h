// Hands out aligned pieces of one block of memory, in order, never to be returned.
//
// With a null base it only counts: the same constructors that lay out a
// workspace then tell the plan how many bytes it needs, so the two cannot
// disagree. Pieces are 64-byte aligned and hold trivial types only.
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
    return reinterpret_cast<T*>(TakeBytes(count * sizeof(T)));
  }

  size_t used_bytes() const { return used_bytes_; }

 private:
  uint8_t* TakeBytes(size_t bytes) {
    uint8_t* piece = base_ == nullptr ? nullptr : base_ + used_bytes_;
    used_bytes_ += AlignUp(bytes, 64);
    SLUICE_CHECK(base_ == nullptr || used_bytes_ <= capacity_bytes_);
    return piece;
  }

  uint8_t* base_ = nullptr;
  size_t capacity_bytes_ = 0;
  size_t used_bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_BASE_ARENA_H_
