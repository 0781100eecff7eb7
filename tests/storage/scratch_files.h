// Files of known bytes in a folder of their own, gone with the object.
#ifndef SLUICE_TESTS_STORAGE_SCRATCH_FILES_H_
#define SLUICE_TESTS_STORAGE_SCRATCH_FILES_H_

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "storage/block_reader.h"
#include "tests/scratch_folder.h"

namespace sluice {

// The byte at `offset` of scratch file `file`; no two places look alike.
inline uint8_t ScratchByte(int file, uint64_t offset) {
  uint64_t x = (offset / 8 + 1) * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(file) * 0xD1B54A32D192ED03u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return static_cast<uint8_t>((x ^ (x >> 31)) >> (offset % 8 * 8));
}

// How many of `bytes` at `data` agree with the file from `offset` on, from the first.
inline uint64_t MatchingBytes(const uint8_t* data, int file, uint64_t offset, uint64_t bytes) {
  uint64_t matching = 0;
  while (matching < bytes && data[matching] == ScratchByte(file, offset + matching)) ++matching;
  return matching;
}

class ScratchFiles {
 public:
  explicit ScratchFiles(const std::vector<uint64_t>& sizes,
                        const std::filesystem::path& parent = std::filesystem::temp_directory_path())
      : folder_(parent), sizes_(sizes) {
    for (size_t file = 0; file < sizes.size(); ++file) {
      paths_.push_back(folder_.Path("part" + std::to_string(file)));
      std::string bytes(sizes[file], '\0');
      for (uint64_t i = 0; i < sizes[file]; ++i) bytes[i] = static_cast<char>(ScratchByte(static_cast<int>(file), i));
      std::ofstream(paths_.back(), std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
  }
  ScratchFiles(const ScratchFiles&) = delete;
  ScratchFiles& operator=(const ScratchFiles&) = delete;

  const std::vector<std::string>& paths() const { return paths_; }
  const std::vector<uint64_t>& sizes() const { return sizes_; }

 private:
  ScratchFolder folder_;
  std::vector<uint64_t> sizes_;
  std::vector<std::string> paths_;
};

inline std::unique_ptr<BlockReader> OpenOrDie(IoBackend backend, const std::vector<std::string>& paths, int capacity) {
  auto reader = OpenBlockReader(backend, paths, capacity);
  REQUIRE_MESSAGE(reader.ok(), reader.status().ToString());
  return *std::move(reader);
}

// The backends that work here: pread and mmap always, io_uring where it may be used.
inline std::vector<IoBackend> WorkingBackends(const std::vector<std::string>& paths) {
  std::vector<IoBackend> backends = {IoBackend::kPread, IoBackend::kMmap};
  if (OpenBlockReader(IoBackend::kUring, paths, 4).ok()) {
    backends.push_back(IoBackend::kUring);
  } else {
    MESSAGE("SKIP: io_uring cannot be used here");
  }
  return backends;
}

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_SCRATCH_FILES_H_
