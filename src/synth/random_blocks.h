// Random weights of any type: every code equally likely, scales of a size that
// keeps activations near one.
#ifndef SLUICE_SRC_SYNTH_RANDOM_BLOCKS_H_
#define SLUICE_SRC_SYNTH_RANDOM_BLOCKS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor_type.h"

namespace sluice {

// Random 64-bit numbers, a few GB/s; the same for the same seed.
class RandomBits {
 public:
  explicit RandomBits(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ z >> 32) * 0xd6e8feb86659fd93u;
    z = (z ^ z >> 32) * 0xd6e8feb86659fd93u;
    return z ^ z >> 32;
  }
  // Mean 0, variance 1, nearly normal, at most 3.47 off.
  double NextNormal();

 private:
  uint64_t state_;
};

// A seed for one of many streams.
uint64_t StreamSeed(uint64_t seed, absl::string_view stream, uint64_t number);

class RandomBlocks {
 public:
  // Weights of mean 0 whose root mean square is `rms`, as far as the type's
  // scales can say it. `type` is a weight type.
  RandomBlocks(TensorType type, double rms);

  // Fills whole blocks. Pure; any thread.
  void Fill(uint64_t seed, absl::Span<uint8_t> blocks) const;

 private:
  void FillFloats(uint64_t seed, absl::Span<uint8_t> blocks) const;
  void SetScales(uint8_t* block) const;
  void SetUnit(double unit);
  double MeasureRms() const;

  const TensorTypeInfo& info_;
  double float_rms_ = 0;  // of plain types
  int unit_at_ = -1;      // where a block holds its unit and its minimum
  int minimum_at_ = -1;
  double middle_ = 0;          // the minimum in units
  uint16_t unit_bits_ = 0;     // f16
  uint16_t minimum_bits_ = 0;  // f16, of types with minimums
  int exponent_ = 0;           // of mxfp4: this or the next,
  int next_of_256_ = 0;        // so many times of 256 the next
};

// The f16 nearest to `value`, which is finite as one.
uint16_t HalfBits(double value);

}  // namespace sluice

#endif  // SLUICE_SRC_SYNTH_RANDOM_BLOCKS_H_
