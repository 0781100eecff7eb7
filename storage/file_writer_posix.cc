// Hosts without reflinks of ranges: everything is written.
#include "absl/strings/str_cat.h"
#include "storage/file_writer.h"

namespace sluice {

absl::Status FileWriter::CloneRange(uint64_t, uint64_t, uint64_t) {
  return absl::UnimplementedError(absl::StrCat("ranges of ", partial_path_, " cannot share extents on this host"));
}

void FileWriter::WriteBack(uint64_t, uint64_t) {}

}  // namespace sluice
