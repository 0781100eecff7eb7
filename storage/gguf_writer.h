// The header of a GGUF file that is to be written.
#ifndef SLUICE_STORAGE_GGUF_WRITER_H_
#define SLUICE_STORAGE_GGUF_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "storage/gguf.h"

namespace sluice {

struct GgufLayout {
  std::string header;       // the file's first bytes, as far as the data
  uint64_t file_bytes = 0;  // the last tensor is padded like the others
};

// Lays the tensors down one after the other, each at a multiple of `alignment`,
// and gives them their sizes and offsets; names, types and dimensions are the
// caller's. `alignment` must be what the keys say, 32 when they say nothing.
GgufLayout LayOutGguf(const GgufMetadata& metadata, uint64_t alignment, std::vector<GgufTensor>* tensors);

}  // namespace sluice

#endif  // SLUICE_STORAGE_GGUF_WRITER_H_
