// Remembers how a drive is best read: one small file for each drive and way of
// reading, in a folder that may be emptied at any time.
//
// A cache: what is absent, damaged or of another drive is not there, and what
// cannot be written is measured again. The format is in docs/formats.md.
#ifndef SLUICE_SRC_ENGINE_PATTERN_CACHE_H_
#define SLUICE_SRC_ENGINE_PATTERN_CACHE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "storage/drive_probe.h"
#include "storage/read_pattern.h"

namespace sluice {

class PatternCache {
 public:
  // `folder` need not exist.
  explicit PatternCache(std::string folder) : folder_(std::move(folder)) {}

  // Of the drive that `path` lies on, read through the backend `io`.
  absl::optional<ReadPattern> Find(const std::string& path, absl::string_view io) const;
  // Makes the folder; an error when nothing can be kept there.
  absl::Status Prepare() const;
  // Returns the path of the file.
  absl::StatusOr<std::string> Keep(const std::string& path, absl::string_view io, const DriveProfile& profile) const;

 private:
  // The drive's name: its file system's id and size.
  static absl::StatusOr<std::string> DriveOf(const std::string& path);
  std::string FileOf(absl::string_view drive, absl::string_view io) const;

  std::string folder_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_PATTERN_CACHE_H_
