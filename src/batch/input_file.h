// A batch job's input: where its lines are, without holding them.
//
// One pass when opened: places of the lines that are not blank, a fingerprint of
// all bytes. Lines are read again when their turn comes, from the file as it was
// opened, which may be renamed or removed meanwhile. Memory: memory_bytes(), 24
// bytes a line, and one line during the pass; hostile sizes are refused with the
// limit. Line ends may be CRLF; a byte order mark in front is no part of the
// first line.
#ifndef SLUICE_SRC_BATCH_INPUT_FILE_H_
#define SLUICE_SRC_BATCH_INPUT_FILE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "storage/byte_source.h"

namespace sluice {

class InputFile {
 public:
  static constexpr uint64_t kLongestLineBytes = uint64_t{16} << 20;
  static constexpr size_t kMostLines = size_t{1} << 24;

  // `visit(index, line)` sees each line that is not blank once, in order, in the
  // same pass; its error ends the pass. A line above kLongestLineBytes is seen,
  // and read later, as an empty one: ParseBatchLine knows. NotFound, or
  // FailedPrecondition for what cannot be read twice, such as a pipe or "-".
  static absl::StatusOr<InputFile> Open(const std::string& path,
                                        const std::function<absl::Status(size_t index, absl::string_view line)>& visit);

  // Lines that are not blank, numbered from 0 by index.
  size_t lines() const { return lines_.size(); }
  // The line's number in the file, from 1, blank ones counted.
  uint64_t number(size_t index) const { return lines_[index].number; }
  // The index of the line with that number, unless it is blank or not there.
  absl::optional<size_t> Find(uint64_t number) const;
  // Reads a line again; FailedPrecondition when the file has changed since.
  absl::StatusOr<std::string> Read(size_t index) const;

  uint64_t size_bytes() const { return source_->size_bytes(); }
  uint64_t fingerprint() const { return fingerprint_; }  // XXH3-64 of all bytes
  uint64_t memory_bytes() const { return lines_.capacity() * sizeof(Line); }

 private:
  struct Line {
    uint64_t offset = 0;
    uint64_t number = 0;
    uint32_t length = 0;  // 0: too long to be held
    uint32_t check = 0;   // of the line's bytes, to notice that they changed
  };
  class Scanner;

  InputFile(std::string path, std::unique_ptr<FileByteSource> source)
      : path_(std::move(path)), source_(std::move(source)) {}

  std::string path_;
  std::unique_ptr<FileByteSource> source_;
  std::vector<Line> lines_;
  uint64_t fingerprint_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_INPUT_FILE_H_
