// XXH3-64 of bytes that come in pieces; the same as of all of them at once.
#ifndef SLUICE_BASE_XXH3_STREAM_H_
#define SLUICE_BASE_XXH3_STREAM_H_

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/check.h"

namespace sluice {

class Xxh3Stream {
 public:
  Xxh3Stream() : state_(XXH3_createState()) {
    SLUICE_CHECK(state_ != nullptr && XXH3_64bits_reset(state_.get()) == XXH_OK);
  }

  void Add(const void* bytes, size_t count) { SLUICE_CHECK(XXH3_64bits_update(state_.get(), bytes, count) == XXH_OK); }
  uint64_t digest() const { return XXH3_64bits_digest(state_.get()); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };

  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace sluice

#endif  // SLUICE_BASE_XXH3_STREAM_H_
