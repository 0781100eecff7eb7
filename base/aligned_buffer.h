// A zero-filled, page-aligned block of private memory.
//
// Owns one anonymous mapping. Pages count towards resident memory only once
// touched. Move-only. Allocation failure is reported as a Status: the size
// comes from a plan the user asked for.
#ifndef SLUICE_BASE_ALIGNED_BUFFER_H_
#define SLUICE_BASE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace sluice {

class AlignedBuffer {
 public:
  // The alignment is a power of two, e.g. 4096 or 2 MiB. No bytes give a null
  // data().
  static absl::StatusOr<AlignedBuffer> Create(size_t size_bytes, size_t alignment_bytes = 4096);

  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept { *this = std::move(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  ~AlignedBuffer();

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  uint8_t* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_BASE_ALIGNED_BUFFER_H_
