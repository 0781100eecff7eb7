#include "src/model/kv_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/checked_math.h"
#include "compute/ops.h"

namespace sluice {
namespace {

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
  for (int64_t begin = 0; begin < width; begin += KvRows::kBlock) {
    const int64_t count = std::min(KvRows::kBlock, width - begin);
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

}  // namespace

uint64_t KvRows::RowBytes(KvType type, int64_t width) {
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

void KvRows::Encode(const float* row, uint8_t* out) const {
  switch (type_) {
    case KvType::kF32:
      std::memcpy(out, row, row_bytes_);
      return;
    case KvType::kF16:
      ops_->f32_to_f16(row, reinterpret_cast<uint16_t*>(out), width_);
      return;
    case KvType::kQ8_0:
      EncodeQ8(row, width_, out);
      return;
  }
}

void KvRows::Decode(const uint8_t* in, int64_t count, int64_t first, int64_t columns, float* out) const {
  const WidenRowsArgs args{in + RowBytes(type_, first), static_cast<int64_t>(row_bytes_), count, columns, out};
  switch (type_) {
    case KvType::kF32:
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(out + i * columns, args.in + i * args.stride_bytes, columns * sizeof(float));
      }
      return;
    case KvType::kF16:
      ops_->widen_f16(args);
      return;
    case KvType::kQ8_0:
      ops_->widen_q8(args);
      return;
  }
}

}  // namespace sluice
