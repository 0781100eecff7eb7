#include "storage/mirror.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace sluice {
namespace {

constexpr uint64_t kCompareBytes = 64 << 10;

// Where the weights of file `index` begin.
uint64_t HeaderBytes(const ModelFiles& files, int index) {
  uint64_t bytes = files.file_sizes()[static_cast<size_t>(index)];
  for (const GgufTensor& tensor : files.tensors()) {
    if (tensor.file == index) bytes = std::min(bytes, tensor.offset);
  }
  return bytes;
}

absl::Status Differs(const std::string& mirror, absl::string_view what, const std::string& original) {
  return absl::InvalidArgumentError(
      absl::StrCat("--mirror: ", mirror, " ", what, " ", original, "; copy the model again"));
}

absl::Status CompareHeaders(const std::string& original, const std::string& mirror, uint64_t bytes) {
  std::ifstream a(original, std::ios::binary), b(mirror, std::ios::binary);
  std::vector<char> from_a(kCompareBytes), from_b(kCompareBytes);
  for (uint64_t done = 0; done < bytes; done += kCompareBytes) {
    const std::streamsize count = static_cast<std::streamsize>(std::min(kCompareBytes, bytes - done));
    if (!a.read(from_a.data(), count)) return absl::UnavailableError(absl::StrCat("cannot read ", original));
    if (!b.read(from_b.data(), count)) return absl::UnavailableError(absl::StrCat("--mirror: cannot read ", mirror));
    if (!std::equal(from_a.begin(), from_a.begin() + count, from_b.begin())) {
      return Differs(mirror, "has another header than", original);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> FindMirror(const ModelFiles& files, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const bool folder = fs::is_directory(path, error);
  std::vector<std::string> mirrors;
  for (size_t i = 0; i < files.paths().size(); ++i) {
    const std::string& original = files.paths()[i];
    const fs::path name = fs::path(original).filename();
    // A single file may have another name.
    const bool as_it_is = !folder && files.paths().size() == 1;
    const std::string mirror =
        as_it_is ? path : ((folder ? fs::path(path) : fs::path(path).parent_path()) / name).string();
    const uint64_t size = fs::file_size(mirror, error);
    if (error) return absl::NotFoundError(absl::StrCat("--mirror: cannot open ", mirror, ": ", error.message()));
    if (size != files.file_sizes()[i]) return Differs(mirror, "has another size than", original);
    RETURN_IF_ERROR(CompareHeaders(original, mirror, HeaderBytes(files, static_cast<int>(i))));
    mirrors.push_back(mirror);
  }
  return mirrors;
}

}  // namespace sluice
