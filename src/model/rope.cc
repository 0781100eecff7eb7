#include "src/model/rope.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {

// The pair that turns `rotations` times over the original context.
double CorrectionPair(double dims, double base, double context_length, double rotations) {
  constexpr double kPi = 3.14159265358979323846;
  return dims * std::log(context_length / (2.0 * kPi * rotations)) / (2.0 * std::log(base));
}

}  // namespace

Rope::Rope(int64_t dims, double base, const YarnConfig& yarn) : frequencies_(dims / 2) {
  const double d = static_cast<double>(dims);
  double low = 0.0, high = 0.0;
  if (yarn.enabled) {
    low = std::max(0.0, std::floor(CorrectionPair(d, base, yarn.original_context_length, yarn.beta_fast)));
    high = std::min(d - 1.0, std::ceil(CorrectionPair(d, base, yarn.original_context_length, yarn.beta_slow)));
  }
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double frequency = std::pow(base, -2.0 * static_cast<double>(i) / d);
    double ramp = 0.0;
    if (yarn.enabled) ramp = std::clamp((static_cast<double>(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
    frequencies_[i] = frequency * (1.0 - ramp) + frequency / yarn.factor * ramp;
  }
}

void Rope::Angles(int64_t position, float* cos_sin) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies_[i];
    cos_sin[2 * i] = static_cast<float>(std::cos(angle));
    cos_sin[2 * i + 1] = static_cast<float>(std::sin(angle));
  }
}

void Rope::RotateNeighbours(const float* cos_sin, int64_t dims, float* x) {
  for (int64_t i = 0; i < dims; i += 2) {
    const float c = cos_sin[i], s = cos_sin[i + 1];
    const float u = x[i], v = x[i + 1];
    x[i] = u * c - v * s;
    x[i + 1] = u * s + v * c;
  }
}

}  // namespace sluice
