#include "src/synth/random_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "compute/dequantize.h"

namespace sluice {
namespace {

// Where a block keeps its unit, and its minimum as a multiple of the unit that
// makes the mean vanish: the middle code.
struct UnitPlace {
  TensorType type;
  int unit;
  int minimum;  // -1: none
  double middle;
};

constexpr UnitPlace kPlaces[] = {
    {TensorType::kQ4_0, 0, -1, 0},    {TensorType::kQ4_1, 0, 2, -7.5}, {TensorType::kQ5_0, 0, -1, 0},
    {TensorType::kQ5_1, 0, 2, -15.5}, {TensorType::kQ8_0, 0, -1, 0},   {TensorType::kIQ4NL, 0, -1, 0},
    {TensorType::kQ2K, 80, 82, 1.5},  {TensorType::kQ3K, 108, -1, 0},  {TensorType::kQ4K, 0, 2, 7.5},
    {TensorType::kQ5K, 0, 2, 15.5},   {TensorType::kQ6K, 208, -1, 0},  {TensorType::kIQ4XS, 0, -1, 0},
    {TensorType::kIQ2XXS, 0, -1, 0},  {TensorType::kIQ2XS, 0, -1, 0},  {TensorType::kIQ2S, 0, -1, 0},
    {TensorType::kIQ3XXS, 0, -1, 0},  {TensorType::kIQ3S, 0, -1, 0},   {TensorType::kIQ1S, 0, -1, 0},
};

const UnitPlace* FindPlace(TensorType type) {
  for (const UnitPlace& place : kPlaces) {
    if (place.type == type) return &place;
  }
  return nullptr;
}

constexpr int kMxfp4One = 128;  // the exponent of a unit of 1
constexpr int kIq1mScales = 48;

bool IsPlain(TensorType type) {
  return type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
}

// The unit of iq1_m is scattered over the top nibbles of four words.
void SetIq1mUnit(uint16_t bits, uint8_t* block) {
  for (int word = 0; word < 4; ++word) {
    uint8_t* high = block + kIq1mScales + 2 * word + 1;
    *high = static_cast<uint8_t>((*high & 0x0f) | ((bits >> (4 * word) & 0x0f) << 4));
  }
}

void Put16(uint8_t* at, uint16_t bits) {
  at[0] = static_cast<uint8_t>(bits);
  at[1] = static_cast<uint8_t>(bits >> 8);
}

}  // namespace

double RandomBits::NextNormal() {
  const uint64_t bits = Next();
  const uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
  return (static_cast<double>(sum) / 65536.0 - (2.0 - 2.0 / 65536.0)) * std::sqrt(3.0);
}

uint64_t StreamSeed(uint64_t seed, absl::string_view stream, uint64_t number) {
  uint64_t hash = RandomBits(seed).Next();
  for (const char c : stream) hash = RandomBits(hash ^ static_cast<uint8_t>(c)).Next();
  return RandomBits(hash ^ RandomBits(number).Next()).Next();
}

uint16_t HalfBits(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  if (magnitude == 0) return sign;
  const int exponent = std::max(std::ilogb(magnitude), -14);  // below: subnormal
  const auto steps = static_cast<uint32_t>(std::nearbyint(std::scalbn(magnitude, 10 - exponent)));
  const uint32_t bits = static_cast<uint32_t>(exponent + 14) * 1024 + steps;  // 1024 steps carry into the exponent
  SLUICE_CHECK(bits < 0x7c00);
  return static_cast<uint16_t>(sign | bits);
}

RandomBlocks::RandomBlocks(TensorType type, double rms) : info_(InfoOf(type)), float_rms_(rms) {
  SLUICE_CHECK(info_.is_weight);
  if (IsPlain(type)) return;
  if (const UnitPlace* place = FindPlace(type)) {
    unit_at_ = place->unit;
    minimum_at_ = place->minimum;
    middle_ = place->middle;
  }
  SetUnit(1);
  SetUnit(rms / MeasureRms());
}

void RandomBlocks::SetUnit(double unit) {
  unit_bits_ = HalfBits(unit);
  minimum_bits_ = HalfBits(unit * middle_);
  // Squares of a mixture of 2^e and 2^(e+1) average 4^e (1 + 3 share).
  exponent_ = kMxfp4One + std::ilogb(unit);
  const double rest = unit / std::exp2(std::ilogb(unit));
  next_of_256_ = static_cast<int>(256 * (rest * rest - 1) / 3);
}

double RandomBlocks::MeasureRms() const {
  constexpr size_t kBlocks = 256;
  std::vector<uint8_t> blocks(kBlocks * info_.block_bytes);
  Fill(1, absl::MakeSpan(blocks));
  std::vector<float> weights(kBlocks * info_.block_elements);
  DequantizeRow(info_.type, blocks.data(), static_cast<int64_t>(weights.size()), weights.data());
  double squares = 0;
  for (const float weight : weights) squares += static_cast<double>(weight) * weight;
  return std::sqrt(squares / static_cast<double>(weights.size()));
}

void RandomBlocks::Fill(uint64_t seed, absl::Span<uint8_t> blocks) const {
  SLUICE_DCHECK(blocks.size() % info_.block_bytes == 0);
  if (IsPlain(info_.type)) return FillFloats(seed, blocks);
  RandomBits random(seed);
  size_t done = 0;
  for (; done + 8 <= blocks.size(); done += 8) {
    const uint64_t bits = random.Next();
    std::memcpy(blocks.data() + done, &bits, 8);
  }
  const uint64_t bits = random.Next();
  std::memcpy(blocks.data() + done, &bits, blocks.size() - done);
  for (size_t at = 0; at < blocks.size(); at += info_.block_bytes) SetScales(blocks.data() + at);
}

void RandomBlocks::SetScales(uint8_t* block) const {
  if (info_.type == TensorType::kMXFP4) {
    block[0] = static_cast<uint8_t>(exponent_ + (block[0] < next_of_256_));
    return;
  }
  if (info_.type == TensorType::kIQ1M) return SetIq1mUnit(unit_bits_, block);
  Put16(block + unit_at_, unit_bits_);
  if (minimum_at_ >= 0) Put16(block + minimum_at_, minimum_bits_);
}

void RandomBlocks::FillFloats(uint64_t seed, absl::Span<uint8_t> blocks) const {
  RandomBits random(seed);
  for (size_t at = 0; at < blocks.size(); at += info_.block_bytes) {
    const double value = random.NextNormal() * float_rms_;
    if (info_.type == TensorType::kF16) {
      Put16(blocks.data() + at, HalfBits(value));
      continue;
    }
    const float number = static_cast<float>(value);
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof(bits));
    if (info_.type == TensorType::kBF16) {
      Put16(blocks.data() + at, static_cast<uint16_t>(bits >> 16));
    } else {
      Put16(blocks.data() + at, static_cast<uint16_t>(bits));
      Put16(blocks.data() + at + 2, static_cast<uint16_t>(bits >> 16));
    }
  }
}

}  // namespace sluice
