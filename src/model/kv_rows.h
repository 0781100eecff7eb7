// A row of keys and values as the cache holds it: floats rounded to its type.
//
// q8_0 here is int8 in blocks of 32 with float16 scales, a short last block
// where the width asks for it. Pure.
#ifndef SLUICE_SRC_MODEL_KV_ROWS_H_
#define SLUICE_SRC_MODEL_KV_ROWS_H_

#include <cstdint>

#include "compute/kernel_set.h"

namespace sluice {

enum class KvType { kF32, kF16, kQ8_0 };

class KvRows {
 public:
  // Floats that share a scale in q8_0.
  static constexpr int64_t kBlock = 32;

  KvRows() = default;
  // Rows of `width` floats; `ops` outlives the object.
  KvRows(KvType type, int64_t width, const VectorOps* ops)
      : type_(type), width_(width), row_bytes_(RowBytes(type, width)), ops_(ops) {}

  static uint64_t RowBytes(KvType type, int64_t width);

  uint64_t row_bytes() const { return row_bytes_; }
  void Encode(const float* row, uint8_t* out) const;
  // Floats [first, first + columns) of `count` rows that lie one after the other,
  // packed; `first` is a multiple of kBlock.
  void Decode(const uint8_t* in, int64_t count, int64_t first, int64_t columns, float* out) const;

 private:
  KvType type_ = KvType::kF16;
  int64_t width_ = 0;
  uint64_t row_bytes_ = 0;
  const VectorOps* ops_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_KV_ROWS_H_
