// Fields of a block, at any alignment. Files are little-endian and so are the
// machines this program builds for.
#ifndef SLUICE_COMPUTE_LOAD_BYTES_H_
#define SLUICE_COMPUTE_LOAD_BYTES_H_

#include <bit>
#include <cstdint>
#include <cstring>

#include "compute/ops.h"

namespace sluice {

static_assert(std::endian::native == std::endian::little, "block fields are read as they lie");

inline uint16_t LoadU16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

inline uint32_t LoadU32(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

inline float LoadF16(const uint8_t* bytes) { return F16ToF32(LoadU16(bytes)); }

}  // namespace sluice

#endif  // SLUICE_COMPUTE_LOAD_BYTES_H_
