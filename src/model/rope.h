// Rotary positions with optional YaRN scaling of the frequencies.
//
// Formula: frequency of pair i is base^(-2i/dims); YaRN (arXiv 2309.00071)
// divides low frequencies by the factor along a linear ramp between the pairs
// that turn beta_fast and beta_slow times over the original context, with the
// ramp's ends rounded outwards as GGUF engines of this family do. Magnitudes
// are the caller's business.
#ifndef SLUICE_SRC_MODEL_ROPE_H_
#define SLUICE_SRC_MODEL_ROPE_H_

#include <cstdint>
#include <vector>

#include "src/model/model_config.h"

namespace sluice {

class Rope {
 public:
  Rope(int64_t dims, double base, const YarnConfig& yarn);

  int64_t dims() const { return static_cast<int64_t>(frequencies_.size()) * 2; }
  // Writes dims() / 2 pairs (cos, sin) of `position`: 2 x (dims() / 2) floats.
  void Angles(int64_t position, float* cos_sin) const;
  // Rotates the neighbours (x[2i], x[2i + 1]) by the angles.
  static void RotateNeighbours(const float* cos_sin, int64_t dims, float* x);

 private:
  std::vector<double> frequencies_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_ROPE_H_
