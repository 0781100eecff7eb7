// The tensor types of GGUF files: numbers, names and block sizes.
//
// Here rather than in compute/ because storage/ needs the sizes to check a file
// and the two may not include each other. A new type is one row of the table in
// tensor_type.cc (sizes) plus its decoder and kernels in compute/.
#ifndef SLUICE_BASE_TENSOR_TYPE_H_
#define SLUICE_BASE_TENSOR_TYPE_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace sluice {

// Values are the numbers that stand in files.
enum class TensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2K = 10,
  kQ3K = 11,
  kQ4K = 12,
  kQ5K = 13,
  kQ6K = 14,
  kIQ2XXS = 16,
  kIQ2XS = 17,
  kIQ3XXS = 18,
  kIQ1S = 19,
  kIQ4NL = 20,
  kIQ3S = 21,
  kIQ2S = 22,
  kIQ4XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1M = 29,
  kBF16 = 30,
  kMXFP4 = 39,
};

// One past the largest number above: the size of tables indexed by type.
inline constexpr uint32_t kTensorTypeLimit = 40;

struct TensorTypeInfo {
  TensorType type;
  absl::string_view name;   // as the field writes it: "q4_K", "iq2_xxs", "f16"
  uint32_t block_elements;  // weights in a block
  uint32_t block_bytes;
  bool is_weight;  // sluice can compute with it: 16- and 32-bit floats and the block formats
};

// Null for numbers that are retired, reserved or unknown.
const TensorTypeInfo* FindTensorType(uint32_t number);
const TensorTypeInfo* FindTensorType(absl::string_view name);
// Of a valid enumerator.
const TensorTypeInfo& InfoOf(TensorType type);

// Bytes of a row of `elements` weights, a whole number of blocks.
inline uint64_t RowBytes(TensorType type, uint64_t elements) {
  const TensorTypeInfo& info = InfoOf(type);
  return elements / info.block_elements * info.block_bytes;
}

}  // namespace sluice

#endif  // SLUICE_BASE_TENSOR_TYPE_H_
