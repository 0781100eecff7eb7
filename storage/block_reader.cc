#include "storage/block_reader.h"

#include <algorithm>

#include "base/check.h"
#include "base/status.h"
#include "storage/block_reader_backends.h"

namespace sluice {
namespace {

absl::StatusOr<std::vector<DirectFile>> OpenAll(const std::vector<std::string>& paths) {
  std::vector<DirectFile> files;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(DirectFile file, DirectFile::Open(path));
    files.push_back(std::move(file));
  }
  return files;
}

#ifndef SLUICE_HAVE_URING
absl::StatusOr<std::unique_ptr<BlockReader>> MakeUringReaderOrSayWhyNot(std::vector<DirectFile>*, int) {
  return absl::UnimplementedError("this build reads without io_uring; use --io auto or --io pread");
}
#else
absl::StatusOr<std::unique_ptr<BlockReader>> MakeUringReaderOrSayWhyNot(std::vector<DirectFile>* files, int capacity) {
  return MakeUringReader(files, capacity);
}
#endif

}  // namespace

bool AllDirect(const std::vector<DirectFile>& files) {
  return std::all_of(files.begin(), files.end(), [](const DirectFile& file) { return file.direct(); });
}

uint32_t CommonAlignment(const std::vector<DirectFile>& files) {
  uint32_t alignment = 1;
  for (const DirectFile& file : files) alignment = std::max(alignment, file.alignment_bytes());
  return alignment;
}

absl::StatusOr<std::unique_ptr<BlockReader>> OpenBlockReader(IoBackend backend, const std::vector<std::string>& paths,
                                                             int capacity) {
  SLUICE_CHECK(!paths.empty() && capacity >= 1);
  if (backend == IoBackend::kMmap) return OpenMmapReader(paths, capacity);
  ASSIGN_OR_RETURN(std::vector<DirectFile> files, OpenAll(paths));
  if (backend != IoBackend::kPread) {
    absl::StatusOr<std::unique_ptr<BlockReader>> uring = MakeUringReaderOrSayWhyNot(&files, capacity);
    if (uring.ok() || backend == IoBackend::kUring) return uring;
  }
  return MakePreadReader(std::move(files), capacity);
}

}  // namespace sluice
