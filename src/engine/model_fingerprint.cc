#include "src/engine/model_fingerprint.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "base/xxh3_stream.h"
#include "storage/byte_source.h"

namespace sluice {
namespace {

// Of each file: some milliseconds on the slowest drive.
constexpr uint64_t kSamples = 16;
constexpr uint64_t kSampleBytes = 4096;

// Everything as 64-bit words or as a length and bytes: no two headers give the same stream.
class Hasher {
 public:
  void Add(uint64_t word) { stream_.Add(&word, sizeof(word)); }
  void Add(int64_t word) { Add(static_cast<uint64_t>(word)); }
  void Add(bool word) { Add(uint64_t{word}); }
  void Add(double number) {
    uint64_t word;
    std::memcpy(&word, &number, sizeof(word));
    Add(word);
  }
  void Add(const std::string& text) {
    Add(uint64_t{text.size()});
    stream_.Add(text.data(), text.size());
  }
  void Add(const GgufArray& array) {
    Add(static_cast<uint64_t>(array.element_type));
    Add(uint64_t{array.size()});
    std::visit([this](const auto& items) { AddItems(items); }, array.items);
  }

  uint64_t digest() const { return stream_.digest(); }

 private:
  template <typename T>
  void AddItems(const std::vector<T>& items) {
    for (const T& item : items) Add(item);
  }

  Xxh3Stream stream_;
};

void AddTensor(const GgufTensor& tensor, Hasher* hasher) {
  hasher->Add(tensor.name);
  hasher->Add(static_cast<uint64_t>(tensor.type));
  for (const uint64_t dim : tensor.dims) hasher->Add(dim);
  hasher->Add(tensor.offset);
  hasher->Add(static_cast<uint64_t>(tensor.file));
}

// Samples at equal distances, the file's last bytes among them.
absl::Status AddSamples(const std::string& path, Hasher* hasher) {
  ASSIGN_OR_RETURN(const std::unique_ptr<FileByteSource> file, FileByteSource::Open(path));
  const uint64_t size_bytes = file->size_bytes(), sample_bytes = std::min(kSampleBytes, size_bytes);
  hasher->Add(size_bytes);
  std::string sample(sample_bytes, '\0');
  for (uint64_t i = 1; i <= kSamples; ++i) {
    const uint64_t offset = (size_bytes - sample_bytes) / kSamples * i + (size_bytes - sample_bytes) % kSamples;
    RETURN_IF_ERROR(file->Read(offset, sample.size(), sample.data()));
    hasher->Add(sample);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<uint64_t> ModelFingerprint(const ModelFiles& files) {
  Hasher hasher;
  hasher.Add(uint64_t{files.metadata().entries().size()});
  for (const auto& [key, value] : files.metadata().entries()) {
    hasher.Add(key);
    hasher.Add(static_cast<uint64_t>(value.type));
    std::visit([&hasher](const auto& content) { hasher.Add(content); }, value.value);
  }
  hasher.Add(uint64_t{files.tensors().size()});
  for (const GgufTensor& tensor : files.tensors()) AddTensor(tensor, &hasher);
  for (const std::string& path : files.paths()) RETURN_IF_ERROR(AddSamples(path, &hasher));
  return hasher.digest();
}

}  // namespace sluice
