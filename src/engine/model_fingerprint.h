// Which model it is, for files that carry state from one run to another.
#ifndef SLUICE_SRC_ENGINE_MODEL_FINGERPRINT_H_
#define SLUICE_SRC_ENGINE_MODEL_FINGERPRINT_H_

#include <cstdint>

#include "storage/model_files.h"

namespace sluice {

// XXH3-64 of all keys (the tokenizer's included: take it before the token lists
// are freed), the tensor directory and the sizes of the files. Neither names of
// files nor weights count: a copy elsewhere is the same model, and nobody waits
// for hundreds of gigabytes to be read.
uint64_t ModelFingerprint(const ModelFiles& files);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_MODEL_FINGERPRINT_H_
