#include "compute/ops.h"

#include <limits>

#include "tests/compute/compute_test_data.h"

namespace sluice {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double RelativeError(double got, double want) { return std::abs(got - want) / std::abs(want); }

float SigmoidOf(float x) {
  Sigmoid(BestKernelSet().ops, &x, 1);
  return x;
}

TEST_CASE("lanes are summed by the fixed tree") {
  float lanes[16];
  for (int j = 0; j < 16; ++j) lanes[j] = std::ldexp(1.0f + 0x1p-20f * static_cast<float>(j), 3 * (j % 7));
  float s[16];
  std::memcpy(s, lanes, sizeof s);
  for (int half = 8; half >= 1; half /= 2) {
    for (int j = 0; j < half; ++j) s[j] = s[j] + s[j + half];
  }
  CHECK(SumLanes(lanes) == s[0]);
}

TEST_CASE("exp stays within two parts in ten million over its whole range") {
  double worst = 0;
  int64_t tried = 0;
  const uint32_t limit = std::bit_cast<uint32_t>(88.7f);
  for (uint32_t bits = 0; bits <= limit; bits += 997) {
    for (uint32_t sign : {0u, 0x80000000u}) {
      const float x = std::bit_cast<float>(bits | sign);
      if (x < -87.3f) continue;
      worst = std::max(worst, RelativeError(Exp(x), std::exp(static_cast<double>(x))));
      ++tried;
    }
  }
  MESSAGE("worst relative error " << worst << " of " << tried << " arguments");
  CHECK(tried > 2000000);
  CHECK(worst < 2e-7);
}

TEST_CASE("exp is exact at zero and defined at its edges") {
  CHECK(Exp(0.0f) == 1.0f);
  CHECK(Exp(-0.0f) == 1.0f);
  CHECK(RelativeError(Exp(88.7f), std::exp(static_cast<double>(88.7f))) < 2e-7);
  CHECK(Exp(std::nextafter(88.7f, 100.0f)) == kInfinity);
  CHECK(RelativeError(Exp(-87.3f), std::exp(static_cast<double>(-87.3f))) < 2e-7);
  CHECK(Exp(-87.3f) >= std::numeric_limits<float>::min());
  CHECK(SameBits(Exp(std::nextafter(-87.3f, -100.0f)), 0.0f));
  CHECK(SameBits(Exp(-kInfinity), 0.0f));
  CHECK(Exp(kInfinity) == kInfinity);
  CHECK(SameBits(Exp(-std::numeric_limits<float>::max()), 0.0f));
  CHECK(Exp(std::numeric_limits<float>::max()) == kInfinity);
  for (uint32_t bits : {0x7fc00000u, 0x7f800001u, 0xffc12345u, 0xffffffffu}) {
    CHECK(std::isnan(Exp(std::bit_cast<float>(bits))));
  }
}

TEST_CASE("silu and sigmoid follow their definitions") {
  for (float x = -90.0f; x < 90.0f; x += 0.37f) {
    const double sigmoid = 1.0 / (1.0 + std::exp(-static_cast<double>(x)));
    CHECK(std::abs(SigmoidOf(x) - sigmoid) <= 3e-7 * sigmoid + 1e-38);
    CHECK(std::abs(Silu(x) - x * sigmoid) <= 3e-7 * std::abs(x * sigmoid) + 1e-36);
  }
  CHECK(SameBits(Silu(-200.0f), -0.0f));
  CHECK(Silu(200.0f) == 200.0f);
}

// The value of a half by its definition.
double HalfValue(uint32_t half) {
  const double sign = half & 0x8000 ? -1.0 : 1.0;
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  if (exponent == 31) return fraction == 0 ? sign * kInfinity : kNan;
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST_CASE("every half widens to its value and narrows back to itself") {
  for (uint32_t half = 0; half < 65536; ++half) {
    const float wide = F16ToF32(static_cast<uint16_t>(half));
    if (!SameBits(wide, static_cast<float>(HalfValue(half)))) FAIL_CHECK("half " << half << " widens to " << wide);
    const uint32_t quiet = std::isnan(wide) ? 0x0200 : 0;
    if (F32ToF16(wide) != (half | quiet)) FAIL_CHECK("half " << half << " does not come back");
  }
}

TEST_CASE("floats between two halves go to the nearer, ties to the even one") {
  for (uint32_t half = 0; half < 0x7c00; ++half) {
    const double low = HalfValue(half);
    // The step above the largest half leads to where the next would be.
    const double high = half == 0x7bff ? 65536.0 : HalfValue(half + 1);
    const float middle = static_cast<float>((low + high) / 2);
    const uint32_t even = half & 1 ? half + 1 : half;
    const uint32_t below = F32ToF16(std::nextafter(middle, 0.0f));
    const uint32_t above = F32ToF16(std::nextafter(middle, kInfinity));
    const bool good = F32ToF16(middle) == even && below == half && above == half + 1;
    if (!good) FAIL_CHECK("around half " << half);
    if (F32ToF16(-middle) != (even | 0x8000)) FAIL_CHECK("around half -" << half);
  }
  CHECK(F32ToF16(kInfinity) == 0x7c00);
  CHECK(F32ToF16(1e-45f) == 0);
  CHECK(F32ToF16(3e38f) == 0x7c00);
}

TEST_CASE("bf16 is the upper half of a float") {
  CHECK(BF16ToF32(0x3fc0) == 1.5f);
  CHECK(BF16ToF32(0x0001) == std::bit_cast<float>(0x00010000u));
  CHECK(BF16ToF32(0xff80) == -kInfinity);
}

TEST_CASE("rms norm divides by the root mean square, in place too") {
  for (int64_t n : {1, 5, 16, 100, 7168}) {
    std::vector<float> x = RandomFloats(n, 3, 2.0f);
    const std::vector<float> weight = RandomFloats(n, 4);
    double squares = 0;
    for (float value : x) squares += static_cast<double>(value) * value;
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(n) + 1e-6);
    std::vector<float> out(x.size());
    RmsNorm(BestKernelSet().ops, x.data(), weight.data(), n, 1e-6f, out.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = x[i] * inverse * weight[i];
      CHECK(std::abs(out[i] - want) <= 1e-6 * std::abs(want));
    }
    RmsNorm(BestKernelSet().ops, x.data(), weight.data(), n, 1e-6f, x.data());
    CHECK(FirstDifference(x.data(), out.data(), n) == -1);
  }
}

TEST_CASE("softmax sums to one and survives large and infinite arguments") {
  std::vector<float> x = {1000.0f, 999.0f, -kInfinity, 998.0f};
  Softmax(BestKernelSet().ops, x.data(), 4);
  const double total = 1.0 + std::exp(-1.0) + std::exp(-2.0);
  CHECK(std::abs(x[0] - 1.0 / total) < 1e-6);
  CHECK(std::abs(x[1] - std::exp(-1.0) / total) < 1e-6);
  CHECK(x[2] == 0.0f);
  CHECK(std::abs(x[0] + x[1] + x[3] - 1.0f) < 1e-6f);
  Softmax(BestKernelSet().ops, x.data(), 0);
}

}  // namespace
}  // namespace sluice
