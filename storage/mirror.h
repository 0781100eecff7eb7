// A second copy of a model, on another drive.
#ifndef SLUICE_STORAGE_MIRROR_H_
#define SLUICE_STORAGE_MIRROR_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/model_files.h"

namespace sluice {

// The files of the copy at `path`, in the order of files.paths(): a folder, or a
// file beside which the others lie, under the names of the originals. Refuses a
// copy whose sizes or headers (everything before the first weight) differ;
// weights are not compared.
absl::StatusOr<std::vector<std::string>> FindMirror(const ModelFiles& files, const std::string& path);

}  // namespace sluice

#endif  // SLUICE_STORAGE_MIRROR_H_
