#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"

namespace sluice {
namespace {

constexpr size_t kPageBytes = 4096;

}  // namespace

absl::StatusOr<AlignedBuffer> AlignedBuffer::Create(size_t size_bytes, size_t alignment_bytes) {
  SLUICE_CHECK(IsPowerOfTwo(alignment_bytes));
  AlignedBuffer buffer;
  if (size_bytes == 0) return buffer;
  const size_t slack_bytes = alignment_bytes > kPageBytes ? alignment_bytes : 0;
  const bool fits = size_bytes <= std::numeric_limits<size_t>::max() - kPageBytes - slack_bytes;
  const size_t mapping_bytes = fits ? AlignUp(size_bytes, kPageBytes) + slack_bytes : 0;
  void* mapping = MAP_FAILED;
  if (fits) mapping = mmap(nullptr, mapping_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot allocate ", size_bytes, " bytes of memory; give a smaller --ram"));
  }
  buffer.mapping_ = mapping;
  buffer.mapping_bytes_ = mapping_bytes;
  buffer.data_ = reinterpret_cast<uint8_t*>(AlignUp(reinterpret_cast<uintptr_t>(mapping), alignment_bytes));
  buffer.size_bytes_ = size_bytes;
  return buffer;
}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

AlignedBuffer::~AlignedBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

}  // namespace sluice
