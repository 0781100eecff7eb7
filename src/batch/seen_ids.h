// Which custom_ids a batch job has met, to tell one that comes twice.
//
// Keeps no text: 128 bits of each id's hash, of which no two ids can be expected
// to be alike.
#ifndef SLUICE_SRC_BATCH_SEEN_IDS_H_
#define SLUICE_SRC_BATCH_SEEN_IDS_H_

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"

namespace sluice {

class SeenIds {
 public:
  // False when it was inserted before.
  bool Insert(absl::string_view id);

 private:
  using Hash = std::pair<uint64_t, uint64_t>;
  absl::flat_hash_set<Hash> hashes_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_SEEN_IDS_H_
