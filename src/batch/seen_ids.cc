#include "src/batch/seen_ids.h"

#include <xxhash.h>

namespace sluice {

bool SeenIds::Insert(absl::string_view id) {
  const XXH128_hash_t hash = XXH3_128bits(id.data(), id.size());
  return hashes_.insert({hash.low64, hash.high64}).second;
}

}  // namespace sluice
