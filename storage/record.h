// The unit of streaming: slices of files that are used together.
//
// Each slice is read as the smallest aligned superset of its bytes; supersets
// lie one after the other in the slot and the slice is used in place, at its
// offset within its superset. The last superset of a file may pass its end.
#ifndef SLUICE_STORAGE_RECORD_H_
#define SLUICE_STORAGE_RECORD_H_

#include <cstdint>
#include <vector>

#include "base/checked_math.h"

namespace sluice {

struct Slice {
  int file = 0;
  uint64_t offset = 0;  // absolute, in the file
  uint64_t bytes = 0;   // at least 1
};

struct Record {
  std::vector<Slice> slices;
  int layer = 0;    // for messages; the head is layer block_count
  int expert = -1;  // -1: trunk
};

inline uint64_t SupersetBytes(const Slice& slice, uint32_t alignment) {
  return AlignUp(slice.offset + slice.bytes, alignment) - AlignDown(slice.offset, alignment);
}

// Bytes of a slot that holds the record.
inline uint64_t SlotBytes(const Record& record, uint32_t alignment) {
  uint64_t bytes = 0;
  for (const Slice& slice : record.slices) bytes += SupersetBytes(slice, alignment);
  return bytes;
}

// Where slice `index` begins within the slot.
inline uint64_t SliceOffsetInSlot(const Record& record, size_t index, uint32_t alignment) {
  uint64_t offset = 0;
  for (size_t i = 0; i < index; ++i) offset += SupersetBytes(record.slices[i], alignment);
  return offset + record.slices[index].offset % alignment;
}

}  // namespace sluice

#endif  // SLUICE_STORAGE_RECORD_H_
