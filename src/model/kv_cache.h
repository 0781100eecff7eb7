// The keys and values that attention looks back at.
//
// One row of `width` floats per sequence, layer and position, rounded to the
// cache type when written; every reader sees the rounded values, the writing
// sweep's own included. Memory is one block allocated at start. q8_0 here is
// int8 in blocks of 32 with float16 scales, a short last block where the width
// asks for it.
#ifndef SLUICE_SRC_MODEL_KV_CACHE_H_
#define SLUICE_SRC_MODEL_KV_CACHE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/aligned_buffer.h"
#include "compute/kernel_set.h"

namespace sluice {

enum class KvType { kF32, kF16, kQ8_0 };

class KvCache {
 public:
  struct Shape {
    KvType type = KvType::kF16;
    int layers = 0;
    int sequences = 0;
    int64_t context = 0;  // positions of each sequence
    int64_t width = 0;    // floats of a row
  };

  static uint64_t RowBytes(KvType type, int64_t width);
  // The largest uint64_t when the product does not fit.
  static uint64_t TotalBytes(const Shape& shape);
  static absl::StatusOr<KvCache> Create(const Shape& shape, const VectorOps* ops);

  // Threads may write and read different rows at the same time.
  void Write(int layer, int sequence, int64_t position, const float* row);
  // Rows [begin, begin + count) as floats, `width` apart.
  void Read(int layer, int sequence, int64_t begin, int64_t count, float* out) const;

  const Shape& shape() const { return shape_; }

 private:
  uint8_t* RowAt(int layer, int sequence, int64_t position) const;

  Shape shape_;
  uint64_t row_bytes_ = 0;
  const VectorOps* ops_ = nullptr;
  AlignedBuffer memory_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_KV_CACHE_H_
