// The GGUF container: one file's header, keys and tensor infos.
//
// Reads versions 2 and 3, little endian. Files are hostile until checked: every
// count, length, offset and product is tested against the bytes that are left
// before memory is reserved for it, and errors name the field. Only the header
// is read, never tensor data. Format: docs/formats.md.
#ifndef SLUICE_STORAGE_GGUF_H_
#define SLUICE_STORAGE_GGUF_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "base/tensor_type.h"

namespace sluice {

enum class GgufValueType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// Elements of an array, widened: all integers to int64 (u64 values above
// INT64_MAX wrap; the reader functions below refuse them), floats to double.
struct GgufArray {
  GgufValueType element_type;
  std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string>> items;
  size_t size() const;
};

struct GgufValue {
  GgufValueType type;
  std::variant<uint64_t, int64_t, double, bool, std::string, GgufArray> value;
};

struct GgufTensor {
  std::string name;
  TensorType type;
  int n_dims = 0;
  uint64_t dims[4] = {1, 1, 1, 1};  // fastest first, trailing ones are 1
  uint64_t offset = 0;              // absolute, in the file it lies in
  uint64_t bytes = 0;
  int file = 0;  // index into the split set
};

// The keys of a model. Typed readers take any integer width; they return
// NotFound when the key is absent and InvalidArgument-free, lower-case
// DataLoss/FailedPrecondition errors naming key and value when the type or range is wrong.
class GgufMetadata {
 public:
  const GgufValue* Find(absl::string_view key) const;
  bool Has(absl::string_view key) const { return Find(key) != nullptr; }

  absl::StatusOr<uint64_t> GetUint(absl::string_view key) const;
  absl::StatusOr<double> GetFloat(absl::string_view key) const;  // also accepts integers
  absl::StatusOr<bool> GetBool(absl::string_view key) const;     // also accepts integers 0 and 1
  absl::StatusOr<std::string> GetString(absl::string_view key) const;
  absl::StatusOr<absl::Span<const std::string>> GetStrings(absl::string_view key) const;
  absl::StatusOr<absl::Span<const int64_t>> GetInts(absl::string_view key) const;   // array of any integer type or bool
  absl::StatusOr<absl::Span<const double>> GetFloats(absl::string_view key) const;  // array of float types

  // The same, with `fallback` when the key is absent.
  absl::StatusOr<uint64_t> GetUintOr(absl::string_view key, uint64_t fallback) const;
  absl::StatusOr<double> GetFloatOr(absl::string_view key, double fallback) const;
  absl::StatusOr<bool> GetBoolOr(absl::string_view key, bool fallback) const;
  absl::StatusOr<std::string> GetStringOr(absl::string_view key, absl::string_view fallback) const;

  // In file order.
  const std::vector<std::pair<std::string, GgufValue>>& entries() const { return entries_; }

  // Appends; false when the key is there already.
  bool Insert(std::string key, GgufValue value);
  // Frees the memory of keys that are no longer needed (token lists).
  void Erase(absl::string_view key);

 private:
  std::vector<std::pair<std::string, GgufValue>> entries_;
  absl::flat_hash_map<std::string, size_t> index_;
};

struct GgufHeader {
  uint32_t version = 0;
  uint64_t alignment = 32;
  uint64_t data_start = 0;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // offsets absolute, checked against the file size
};

// A seekable source of header bytes, so that tests and the fuzzer parse memory.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t size_bytes() const = 0;
  // Reads exactly `length` bytes at `offset`; the caller keeps it in bounds.
  virtual absl::Status Read(uint64_t offset, size_t length, void* out) = 0;
};

// Parses one file's header. `name` opens error messages.
absl::StatusOr<GgufHeader> ParseGguf(ByteSource* source, absl::string_view name);

}  // namespace sluice

#endif  // SLUICE_STORAGE_GGUF_H_
