// Which model it is, for files that carry state from one run to another.
#ifndef SLUICE_SRC_ENGINE_MODEL_FINGERPRINT_H_
#define SLUICE_SRC_ENGINE_MODEL_FINGERPRINT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "storage/model_files.h"

namespace sluice {

// XXH3-64 of all keys (the tokenizer's included: take it before the token lists
// are freed), the tensor directory, the sizes of the files, and samples of the
// weights: nobody waits for hundreds of gigabytes to be read, and models trained
// further differ everywhere. Names of files do not count: a copy elsewhere is the
// same model.
absl::StatusOr<uint64_t> ModelFingerprint(const ModelFiles& files);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_MODEL_FINGERPRINT_H_
