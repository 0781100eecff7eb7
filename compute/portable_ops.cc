#include <cmath>
#include <cstring>

#include "compute/load_bytes.h"
#include "compute/ops.h"
#include "compute/portable.h"

namespace sluice::portable {

float Dot(const float* a, const float* b, int64_t n) {
  float lanes[kLanes] = {};
  DotLanes(a, b, n, lanes);
  return SumLanes(lanes);
}

void DotLanes(const float* a, const float* b, int64_t n, float lanes[16]) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] = std::fma(a[i + j], b[i + j], lanes[j]);
  }
  if (i == n) return;
  for (int j = 0; j < kLanes; ++j) {
    const bool inside = i + j < n;
    lanes[j] = std::fma(inside ? a[i + j] : 0.0f, inside ? b[i + j] : 0.0f, lanes[j]);
  }
}

void Axpy(float scale, const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::fma(scale, x[i], y[i]);
}

void WidenF16(const WidenRowsArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t c = 0; c < args.columns; ++c) {
      args.out[r * args.columns + c] = LoadF16(args.in + r * args.stride_bytes + 2 * c);
    }
  }
}

void WidenQ8(const WidenRowsArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t c = 0; c < args.columns; ++c) {
      const uint8_t* block = args.in + r * args.stride_bytes + c / 32 * 34;
      const float code = static_cast<int8_t>(block[2 + c % 32]);
      args.out[r * args.columns + c] = LoadF16(block) * code;
    }
  }
}

void F32RowToF16(const float* in, uint16_t* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = F32ToF16(in[i]);
}

void Swiglu(const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = Silu(gate[i]) * up[i];
}

float ExpSum(float* x, int64_t n, float max) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) {
    x[i] = Exp(x[i] - max);
    lanes[i % kLanes] += x[i];
  }
  return SumLanes(lanes);
}

VectorOps Ops() { return {Dot, DotLanes, Axpy, WidenF16, WidenQ8, F32RowToF16, Swiglu, ExpSum}; }

void AddProduct(const AddProductArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t c = 0; c < args.columns; ++c) {
      float& out = args.out[r * args.out_stride + c];
      for (int64_t k = 0; k < args.depth; ++k) {
        out = std::fma(args.a[r * args.a_row + k * args.a_depth], args.b[k * args.b_stride + c], out);
      }
    }
  }
}

void SoftmaxStep(const SoftmaxStepArgs& args) {
  for (int64_t c = 0; c < args.columns; ++c) {
    float max = args.maxima[c];
    for (int64_t k = 0; k < args.keys; ++k) {
      const float score = args.scores[k * args.stride + c];
      max = max < score ? score : max;
    }
    args.corrections[c] = Exp(args.maxima[c] - max);
    args.maxima[c] = max;
    args.sums[c] *= args.corrections[c];
    for (int64_t k = 0; k < args.keys; ++k) {
      float& score = args.scores[k * args.stride + c];
      score = Exp(score - max);
      args.sums[c] += score;
    }
  }
}

}  // namespace sluice::portable
