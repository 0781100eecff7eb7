// The answers of a batch job: whole lines of JSON, the only truth of what is done.
//
// After a kill or a power cut the lines that were synced are there; what was
// written after them may be cut off, torn or zeros, and goes when the file is
// opened. It is told from a file that is no output: there is little of it, and it
// lies behind all that is known to have been synced, or it is a last line or holds
// zero bytes and at a file's very start begins as an answer does. Anything else
// that is not JSON is refused and left alone. One thread.
#ifndef SLUICE_SRC_BATCH_OUTPUT_FILE_H_
#define SLUICE_SRC_BATCH_OUTPUT_FILE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "storage/durable_files.h"

namespace sluice {

class OutputFile {
 public:
  static constexpr uint64_t kLongestLineBytes = 64 << 20;
  // More than this is never left without a sync.
  static constexpr uint64_t kUnsyncedBytes = 16 << 20;

  // Gets each finished line, without its newline, in the file's order. A status
  // from it ends the opening, with the file as it was.
  using Visit = std::function<absl::Status(absl::string_view line)>;

  // Opens the file at `path`, created empty when absent. What it holds then is
  // safe. Reads in pieces: holds one line and 1 MiB at most. `synced_bytes`: so
  // much of it was synced before, as far as the one who opens it knows.
  static absl::StatusOr<std::unique_ptr<OutputFile>> Open(DurableFiles* files, const std::string& path,
                                                          const Visit& visit,
                                                          absl::optional<uint64_t> synced_bytes = absl::nullopt);
  // Shows the lines of a file that may be in use; an unended one is not shown, one
  // that is no JSON is passed over. Nothing is changed. NotFound when there is no file.
  static absl::Status Read(DurableFiles* files, const std::string& path, const Visit& visit);

  // Whole lines, each ended by a newline. After an error none of them is there.
  absl::Status Append(absl::string_view lines);
  // After an error of it nothing can be known about what was written, and every
  // later call fails.
  absl::Status Sync();

  // The torn tail that was cut when opened.
  uint64_t cut_bytes() const { return cut_bytes_; }
  uint64_t synced_bytes() const { return synced_bytes_; }

 private:
  explicit OutputFile(std::unique_ptr<DurableFile> file) : file_(std::move(file)) {}

  absl::Status AppendLine(absl::string_view line);

  std::unique_ptr<DurableFile> file_;
  uint64_t sound_bytes_ = 0;
  uint64_t synced_bytes_ = 0;
  uint64_t cut_bytes_ = 0;
  absl::Status failed_;  // of a sync
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_OUTPUT_FILE_H_
