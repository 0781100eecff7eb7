// Rows of activations: float32, and the quantised forms that products want.
//
// Each form is made once after the rows change, in parallel over rows, however
// many products read it. Memory comes from an arena and is fixed at creation.
#ifndef SLUICE_SRC_MODEL_ACTIVATION_ROWS_H_
#define SLUICE_SRC_MODEL_ACTIVATION_ROWS_H_

#include <cstdint>

#include "base/arena.h"
#include "base/thread_pool.h"
#include "compute/kernel_set.h"

namespace sluice {

// Which forms a buffer can take.
struct FormatSet {
  bool has[kActivationFormats] = {true, false, false};  // float32 always
  void Add(ActivationFormat format) { has[static_cast<int>(format)] = true; }
};

// Pointers to `count` rows in each form; null where a form was not made.
struct InputRows {
  const void* const* rows[kActivationFormats] = {};
  int64_t count = 0;

  const void* const* In(ActivationFormat format) const { return rows[static_cast<int>(format)]; }

  // Rows [begin, begin + size).
  InputRows Sub(int64_t begin, int64_t size) const {
    InputRows sub;
    sub.count = size;
    for (int f = 0; f < kActivationFormats; ++f) sub.rows[f] = rows[f] == nullptr ? nullptr : rows[f] + begin;
    return sub;
  }
};

class ActivationRows {
 public:
  ActivationRows(Arena* arena, int64_t max_rows, int64_t width, const FormatSet& formats);

  float* row(int64_t r) { return values_ + r * stride_; }
  const float* row(int64_t r) const { return values_ + r * stride_; }
  float* const* rows() const { return float_rows_; }
  int64_t width() const { return width_; }
  int64_t stride() const { return stride_; }  // floats from one row to the next
  int64_t max_rows() const { return max_rows_; }

  // Says that rows [0, count) hold new values, the first `width` of each:
  // quantised forms are stale. Must be called before Quantize and after each change.
  void Refill(int64_t count, int64_t width);
  void Refill(int64_t count) { Refill(count, width_); }
  // Makes every form of the set that the width divides into and returns pointers
  // to all rows.
  InputRows Quantize(const KernelSet& kernels, ThreadPool* threads);

 private:
  int64_t max_rows_;
  int64_t width_;
  int64_t stride_;  // floats
  FormatSet formats_;
  int64_t count_ = 0;
  int64_t used_width_ = 0;
  bool stale_ = true;
  float* values_;
  float** float_rows_;
  uint8_t* quantized_[kActivationFormats] = {};
  const void** pointers_[kActivationFormats] = {};
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_ACTIVATION_ROWS_H_
