#include "src/model/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "compute/ops.h"

namespace sluice {
namespace {

constexpr int64_t kBlock = 32;

// NaN when a value is one or is infinite: codes cannot say so, the scale must.
float LargestMagnitude(const float* x, int64_t count) {
  float largest = 0.0f;
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    finite = finite && std::isfinite(x[i]);
  }
  return finite ? largest : std::numeric_limits<float>::quiet_NaN();
}

// Scale first, then the block's codes. A scale beyond float16 is infinite and
// its codes 0, which reads as NaN.
void EncodeQ8(const float* x, int64_t width, uint8_t* out) {
  for (int64_t begin = 0; begin < width; begin += kBlock) {
    const int64_t count = std::min(kBlock, width - begin);
    const uint16_t scale = F32ToF16(LargestMagnitude(x + begin, count) / 127.0f);
    const float inverse = F16ToF32(scale) > 0.0f ? 1.0f / F16ToF32(scale) : 0.0f;
    std::memcpy(out, &scale, sizeof(scale));
    out += sizeof(scale);
    for (int64_t i = 0; i < count; ++i) {
      const float code = inverse == 0.0f ? 0.0f : std::nearbyint(x[begin + i] * inverse);
      *out++ = static_cast<uint8_t>(static_cast<int8_t>(std::clamp(code, -127.0f, 127.0f)));
    }
  }
}

void DecodeQ8(const uint8_t* in, int64_t width, float* out) {
  for (int64_t begin = 0; begin < width; begin += kBlock) {
    const int64_t count = std::min(kBlock, width - begin);
    uint16_t scale;
    std::memcpy(&scale, in, sizeof(scale));
    in += sizeof(scale);
    const float factor = F16ToF32(scale);
    for (int64_t i = 0; i < count; ++i) out[begin + i] = factor * static_cast<int8_t>(*in++);
  }
}

}  // namespace

uint64_t KvCache::RowBytes(KvType type, int64_t width) {
  switch (type) {
    case KvType::kF32:
      return width * 4;
    case KvType::kF16:
      return width * 2;
    case KvType::kQ8_0:
      return width + CeilDiv(width, kBlock) * 2;
  }
  return 0;
}

uint64_t KvCache::TotalBytes(const Shape& shape) {
  uint64_t bytes = RowBytes(shape.type, shape.width);
  for (int64_t count : {shape.context, int64_t{shape.sequences}, int64_t{shape.layers}}) {
    bytes = SaturatingMul(bytes, static_cast<uint64_t>(count));
  }
  return bytes;
}

absl::StatusOr<KvCache> KvCache::Create(const Shape& shape, const VectorOps* ops) {
  KvCache cache;
  cache.shape_ = shape;
  cache.row_bytes_ = RowBytes(shape.type, shape.width);
  cache.ops_ = ops;
  ASSIGN_OR_RETURN(cache.memory_, AlignedBuffer::Create(TotalBytes(shape)));
  return cache;
}

uint8_t* KvCache::RowAt(int layer, int sequence, int64_t position) const {
  SLUICE_DCHECK(layer < shape_.layers && sequence < shape_.sequences && position < shape_.context);
  const int64_t index = (static_cast<int64_t>(layer) * shape_.sequences + sequence) * shape_.context + position;
  return const_cast<uint8_t*>(memory_.data()) + index * row_bytes_;
}

void KvCache::Write(int layer, int sequence, int64_t position, const float* row) {
  uint8_t* out = RowAt(layer, sequence, position);
  switch (shape_.type) {
    case KvType::kF32:
      std::memcpy(out, row, row_bytes_);
      return;
    case KvType::kF16:
      ops_->f32_to_f16(row, reinterpret_cast<uint16_t*>(out), shape_.width);
      return;
    case KvType::kQ8_0:
      EncodeQ8(row, shape_.width, out);
      return;
  }
}

void KvCache::Read(int layer, int sequence, int64_t begin, int64_t count, float* out) const {
  const uint8_t* in = RowAt(layer, sequence, begin);
  switch (shape_.type) {
    case KvType::kF32:
      std::memcpy(out, in, count * row_bytes_);
      return;
    case KvType::kF16:
      ops_->f16_to_f32(reinterpret_cast<const uint16_t*>(in), out, count * shape_.width);
      return;
    case KvType::kQ8_0:
      for (int64_t i = 0; i < count; ++i) DecodeQ8(in + i * row_bytes_, shape_.width, out + i * shape_.width);
      return;
  }
}

}  // namespace sluice
