#include "compute/activations.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "tests/compute/compute_test_data.h"

namespace sluice {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// By the definition, in words of the standard library.
void CheckBlock(const float* x, int n, float scale, const int8_t* codes) {
  float amax = 0;
  for (int i = 0; i < n; ++i) amax = std::max(amax, std::abs(x[i]));
  REQUIRE(scale == amax / 127.0f);
  const float inverse = amax == 0 ? 0.0f : 127.0f / amax;
  bool equal = true;
  for (int i = 0; i < n; ++i) equal &= codes[i] == static_cast<int>(std::nearbyint(x[i] * inverse));
  CHECK(equal);
}

TEST_CASE("row sizes are whole cache lines") {
  CHECK(ActivationRowBytes(ActivationFormat::kF32, 1) == 64);
  CHECK(ActivationRowBytes(ActivationFormat::kF32, 17) == 128);
  CHECK(ActivationRowBytes(ActivationFormat::kQ8Block32, 32) == 320);
  CHECK(ActivationRowBytes(ActivationFormat::kQ8Block32, 256) == 320);
  CHECK(ActivationRowBytes(ActivationFormat::kQ8Block32, 288) == 640);
  CHECK(ActivationRowBytes(ActivationFormat::kQ8Block256, 7168) == 28 * 320);
}

TEST_CASE("blocks of 32 hold rounded codes, their sums and zeros where unused") {
  const std::vector<float> x = RandomFloats(32 * 11, 1, 3.0f);
  const ActivationRow row = Quantized(ActivationFormat::kQ8Block32, x);
  const Q8Block32x8* packs = static_cast<const Q8Block32x8*>(row.data());
  for (int b = 0; b < 16; ++b) {
    const Q8Block32x8& pack = packs[b / 8];
    const int8_t* values = pack.values[b % 8];
    int sum = 0;
    for (int i = 0; i < 32; ++i) sum += values[i];
    CHECK(pack.sums[b % 8] == sum);
    if (b < 11) {
      CheckBlock(x.data() + 32 * b, 32, pack.scales[b % 8], values);
      CHECK(std::max(std::abs(*std::max_element(values, values + 32)),
                     std::abs(*std::min_element(values, values + 32))) == 127);
    } else {
      CHECK(pack.scales[b % 8] == 0.0f);
      for (int i = 0; i < 32; ++i) CHECK(values[i] == 0);
    }
  }
}

TEST_CASE("blocks of 256 hold rounded codes, and of sixteen groups the sums and an eighth of the magnitudes") {
  const std::vector<float> x = RandomFloats(256 * 3, 2, 1e-3f);
  const ActivationRow row = Quantized(ActivationFormat::kQ8Block256, x);
  const Q8Block256* blocks = static_cast<const Q8Block256*>(row.data());
  for (int b = 0; b < 3; ++b) {
    CheckBlock(x.data() + 256 * b, 256, blocks[b].scale, blocks[b].values);
    int largest = 0;
    for (int g = 0; g < 16; ++g) {
      int sum = 0, magnitudes = 0;
      for (int i = 0; i < 16; ++i) sum += blocks[b].values[16 * g + i];
      for (int i = 0; i < 16; ++i) magnitudes += std::abs(blocks[b].values[16 * g + i]);
      largest = std::max(largest, magnitudes);
      CHECK(blocks[b].group_sums[g] == sum);
      CHECK(blocks[b].magnitudes[g] == (magnitudes + 7) / 8);
    }
    CHECK(largest > 127);
    for (int factor : blocks[b].factors) CHECK(factor == 1);
    for (uint8_t byte : blocks[b].padding) CHECK(byte == 0);
  }
}

TEST_CASE(
    "each 32 values of a block with factors are rounded to the fewest quarters of the largest step that hold them") {
  std::vector<float> x = RandomFloats(256 * 40, 3, 1e-2f);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= static_cast<float>(1 + i / 32 % 11);
  const ActivationRow row = Quantized(ActivationFormat::kQ8Groups256, x);
  const Q8Block256* blocks = static_cast<const Q8Block256*>(row.data());
  int seen[kLargestFactor + 1] = {};
  for (int b = 0; b < 40; ++b) {
    const float* values = x.data() + 256 * b;
    const auto largest_of = [values](int begin, int end) {
      float largest = 0;
      for (int i = begin; i < end; ++i) largest = std::max(largest, std::abs(values[i]));
      return largest;
    };
    const float largest = largest_of(0, 256);
    CHECK(blocks[b].scale == largest / 508.0f);
    for (int g = 0; g < 8; ++g) {
      const int factor = blocks[b].factors[g];
      REQUIRE(factor >= 1);
      REQUIRE(factor <= kLargestFactor);
      ++seen[factor];
      const double quarters = 4.0 * largest_of(32 * g, 32 * g + 32) / largest;
      CHECK(quarters <= factor * (1 + 1e-6));
      if (factor > 1) CHECK(quarters > (factor - 1) * (1 - 1e-6));
      for (int i = 32 * g; i < 32 * g + 32; ++i) {
        const double value = static_cast<double>(blocks[b].scale) * factor * blocks[b].values[i];
        CHECK(std::abs(value - values[i]) <= 0.5001 * blocks[b].scale * factor);
      }
    }
    for (int g = 0; g < 16; ++g) {
      int sum = 0;
      for (int i = 0; i < 16; ++i) sum += blocks[b].values[16 * g + i];
      CHECK(blocks[b].group_sums[g] == sum * blocks[b].factors[g / 2]);
    }
  }
  for (int factor = 1; factor <= kLargestFactor; ++factor) CHECK(seen[factor] > 5);
}

TEST_CASE("ties go to the even code") {
  std::vector<float> x(32, 0.0f);
  x[0] = 127.0f;
  for (int i = 1; i < 32; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i) - 16.5f;
  const ActivationRow row = Quantized(ActivationFormat::kQ8Block32, x);
  const int8_t* codes = static_cast<const Q8Block32x8*>(row.data())->values[0];
  CHECK(codes[0] == 127);
  for (int i = 1; i < 32; ++i) {
    CHECK(codes[i] % 2 == 0);
    CHECK(std::abs(static_cast<float>(codes[i]) - x[static_cast<size_t>(i)]) == 0.5f);
  }
}

TEST_CASE("no finite block leaves the range of codes") {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    const float size = std::ldexp(1.0f + static_cast<float>(seed) * 0x1p-11f, static_cast<int>(seed % 220) - 95);
    std::vector<float> x = RandomFloats(32, seed, size);
    x[5] = size * 8;  // beyond any normal draw
    x[6] = -x[5];
    const ActivationRow row = Quantized(ActivationFormat::kQ8Block32, x);
    const Q8Block32x8& pack = *static_cast<const Q8Block32x8*>(row.data());
    if (pack.scales[0] == 0.0f) continue;
    const auto [low, high] = std::minmax_element(pack.values[0], pack.values[0] + 32);
    CHECK(*low == -127);
    CHECK(*high == 127);
  }
}

TEST_CASE("no finite block with factors leaves the range of codes") {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    const float size = std::ldexp(1.0f + static_cast<float>(seed) * 0x1p-10f, static_cast<int>(seed % 220) - 95);
    std::vector<float> x = RandomFloats(256, seed, size);
    x[5] = size * 8;
    for (int g = 1; g < 8; ++g)
      x[static_cast<size_t>(32 * g)] = std::nextafter(x[5] * 0.125f * static_cast<float>(g), 0.0f);
    const ActivationRow row = Quantized(ActivationFormat::kQ8Groups256, x);
    const Q8Block256& block = *static_cast<const Q8Block256*>(row.data());
    if (block.scale == 0.0f) continue;
    CHECK(block.values[5] == 127);
    for (size_t g = 0; g < 8; ++g) {
      if (x[32 * g] > x[5] * 0.5f) CHECK(block.values[32 * g] > 80);
    }
    CHECK(*std::min_element(block.values, block.values + 256) > -128);
  }
}

TEST_CASE("zeros and vanishing values give a block of zeros") {
  for (float size : {0.0f, -0.0f, 1e-45f, 0x1.fffffep-101f}) {
    const ActivationRow row = Quantized(ActivationFormat::kQ8Block256, std::vector<float>(256, size));
    const Q8Block256& block = *static_cast<const Q8Block256*>(row.data());
    CHECK(SameBits(block.scale, 0.0f));
    for (int8_t code : block.values) CHECK(code == 0);
    const ActivationRow groups = Quantized(ActivationFormat::kQ8Groups256, std::vector<float>(256, size));
    for (int factor : static_cast<const Q8Block256*>(groups.data())->factors) CHECK(factor == 1);
  }
  const ActivationRow row = Quantized(ActivationFormat::kQ8Block256, std::vector<float>(256, 0x1p-100f));
  CHECK(static_cast<const Q8Block256*>(row.data())->values[0] == 127);
}

TEST_CASE("a value that is not finite makes its block NaN and no other") {
  for (float bad : {kInfinity, -kInfinity, kNan, -kNan}) {
    std::vector<float> x = RandomFloats(96, 5);
    x[40] = bad;
    const ActivationRow row = Quantized(ActivationFormat::kQ8Block32, x);
    const Q8Block32x8& pack = *static_cast<const Q8Block32x8*>(row.data());
    CHECK(!std::isnan(pack.scales[0]));
    CHECK(std::isnan(pack.scales[1]));
    CHECK(pack.sums[1] == 0);
    for (int8_t code : pack.values[1]) CHECK(code == 0);
    CHECK(!std::isnan(pack.scales[2]));
  }
}

// Rows of hard cases: ties, zeros, NaN, infinities, tiny and huge values.
std::vector<float> HardRow(int64_t n, uint32_t seed) {
  std::vector<float> x = RandomFloats(n, seed);
  std::mt19937 random(seed);
  for (int64_t block = 0; block < n; block += 32) {
    const uint32_t kind = random() % 8;
    float* values = x.data() + block;
    for (int i = 0; i < 32; ++i) {
      if (kind == 0) values[i] = 0;
      if (kind == 1) values[i] = i == 0 ? 127.0f : static_cast<float>(i) - 15.5f;
      if (kind == 2) values[i] *= 1e-42f;
      if (kind == 3) values[i] *= 1e37f;
      if (kind == 4 && i == static_cast<int>(random() % 64)) values[i] = random() % 2 ? kNan : -kInfinity;
    }
  }
  return x;
}

TEST_CASE("every kernel set quantises to the same bytes") {
  int compared = 0;
  for (const KernelSet* set : AvailableKernelSets()) {
    for (int format = 0; format < kActivationFormats; ++format) {
      for (int64_t n : {256, 512, 1024, 7168}) {
        const int64_t elements = format >= 2 ? n : format == 1 ? n + 32 * (n / 256 % 8) : n - 5;
        const std::vector<float> x = HardRow(n + 256, static_cast<uint32_t>(n));
        const std::vector<float> used(x.begin(), x.begin() + elements);
        const ActivationRow want = Quantized(static_cast<ActivationFormat>(format), used);
        ActivationRow got(static_cast<ActivationFormat>(format), elements);
        std::memset(got.data(), 0xa5, got.size());
        // An odd start: activations of a row need no alignment of their own.
        std::vector<float> shifted(used.size() + 1);
        std::copy(used.begin(), used.end(), shifted.begin() + 1);
        set->quantize[format](shifted.data() + 1, elements, got.data());
        // NaN scales may differ in bits: compare as floats, word by word.
        const int64_t words = static_cast<int64_t>(got.size() / 4);
        std::vector<float> a(static_cast<size_t>(words)), b(static_cast<size_t>(words));
        std::memcpy(a.data(), got.data(), got.size());
        std::memcpy(b.data(), want.data(), want.size());
        INFO(std::string(set->name) << " format " << format << " elements " << elements);
        CHECK(FirstDifference(a.data(), b.data(), words) == -1);
        ++compared;
      }
    }
  }
  CHECK(compared == static_cast<int>(AvailableKernelSets().size()) * 16);
}

}  // namespace
}  // namespace sluice
