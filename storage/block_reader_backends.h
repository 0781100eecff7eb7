// The ways to read that OpenBlockReader chooses among; not for other users.
#ifndef SLUICE_STORAGE_BLOCK_READER_BACKENDS_H_
#define SLUICE_STORAGE_BLOCK_READER_BACKENDS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/block_reader.h"
#include "storage/direct_file.h"

namespace sluice {

// Fails when the kernel forbids or lacks io_uring; leaves `files` usable then.
// Defined only in builds with SLUICE_HAVE_URING.
absl::StatusOr<std::unique_ptr<BlockReader>> MakeUringReader(std::vector<DirectFile>* files, int capacity);
std::unique_ptr<BlockReader> MakePreadReader(std::vector<DirectFile> files, int capacity);
absl::StatusOr<std::unique_ptr<BlockReader>> OpenMmapReader(const std::vector<std::string>& paths, int capacity);

// Of a set of open files: all must be direct; the coarsest alignment rules.
bool AllDirect(const std::vector<DirectFile>& files);
uint32_t CommonAlignment(const std::vector<DirectFile>& files);

}  // namespace sluice

#endif  // SLUICE_STORAGE_BLOCK_READER_BACKENDS_H_
