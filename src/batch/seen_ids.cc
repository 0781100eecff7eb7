#include "src/batch/seen_ids.h"

#include <xxhash.h>

namespace sluice {

bool SeenIds::Insert(absl::string_view id) {
  const XXH128_hash_t hash = XXH3_128bits(id.data(), id.size());
  return hashes_.insert({hash.low64, hash.high64}).second;
}

uint64_t SeenIds::memory_bytes() const {
  // Each place has a control byte.
  return hashes_.capacity() * (sizeof(Hash) + 1);
}

}  // namespace sluice
