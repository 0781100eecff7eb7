// The vector operations of every set against the portable ones, bit for bit.
#include <limits>

#include "tests/compute/compute_test_data.h"

namespace sluice {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const int64_t kLengths[] = {0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 512, 576, 1025};

const VectorOps& Reference() { return FindKernelSet("portable")->ops; }

// Runs body(set's operations, n) for every set and length and asserts that it did.
template <typename Body>
void ForEach(const Body& body) {
  size_t runs = 0;
  for (const KernelSet* set : AvailableKernelSets()) {
    for (int64_t n : kLengths) {
      INFO(std::string(set->name) << " n " << n);
      body(set->ops, n);
      ++runs;
    }
  }
  CHECK(runs == AvailableKernelSets().size() * std::size(kLengths));
}

bool Same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && FirstDifference(a.data(), b.data(), static_cast<int64_t>(a.size())) == -1;
}

// Ordinary values with a sprinkling of the edges of exp, half and float.
std::vector<float> EdgyFloats(int64_t n, uint32_t seed) {
  std::vector<float> x = RandomFloats(n, seed, 30.0f);
  std::mt19937 random(seed + 1);
  const float edges[] = {0.0f,  -0.0f, 88.7f, 88.8f,    -87.3f,   -87.4f, kInfinity, -kInfinity, 1e-45f,       -1e-40f,
                         6e-8f, 3e-8f, 6e-5f, 65504.0f, 65520.0f, 1e38f,  -1e38f,    0x1p-25f,   std::nanf("")};
  for (float& value : x) {
    if (random() % 4 == 0) value = edges[random() % std::size(edges)];
  }
  return x;
}

TEST_CASE("dot has sixteen chains and the fixed tree") {
  for (int64_t n : kLengths) {
    const std::vector<float> a = RandomFloats(n, 1), b = RandomFloats(n, 2);
    float lanes[16] = {};
    for (int64_t i = 0; i < n; ++i) {
      lanes[i % 16] = std::fma(a[static_cast<size_t>(i)], b[static_cast<size_t>(i)], lanes[i % 16]);
    }
    CHECK(SameBits(Reference().dot(a.data(), b.data(), n), SumLanes(lanes)));
  }
}

TEST_CASE("the sum of exponentials has sixteen chains and the fixed tree") {
  for (int64_t n : kLengths) {
    const std::vector<float> x = RandomFloats(n, 11, 3.0f);
    float lanes[16] = {};
    for (int64_t i = 0; i < n; ++i) lanes[i % 16] += Exp(x[static_cast<size_t>(i)] - 2.0f);
    std::vector<float> out = x;
    CHECK(SameBits(Reference().exp_sum(out.data(), n, 2.0f), SumLanes(lanes)));
  }
}

TEST_CASE("axpy rounds once") {
  std::vector<float> y = {-1.0f};
  const float x = 1.0f + 0x1p-12f;
  Reference().axpy(x, &x, y.data(), 1);
  CHECK(y[0] == 0x1p-11f + 0x1p-24f);
}

TEST_CASE("every set has the portable bits of dot and of continued chains") {
  ForEach([](const VectorOps& ops, int64_t n) {
    const std::vector<float> a = RandomFloats(n + 1, 1), b = RandomFloats(n + 1, 2);
    CHECK(SameBits(ops.dot(a.data() + 1, b.data(), n), Reference().dot(a.data() + 1, b.data(), n)));
    std::vector<float> want = RandomFloats(16, 3);
    want[15] = -0.0f;  // becomes +0 when the padding is multiplied
    std::vector<float> got = want;
    Reference().dot_lanes(a.data(), b.data() + 1, n, want.data());
    ops.dot_lanes(a.data(), b.data() + 1, n, got.data());
    CHECK(Same(got, want));
  });
}

TEST_CASE("every set has the portable bits of axpy and touches no more") {
  ForEach([](const VectorOps& ops, int64_t n) {
    const std::vector<float> x = RandomFloats(n + 1, 4);
    std::vector<float> want = RandomFloats(n + 1, 5);
    std::vector<float> got = want;
    Reference().axpy(0.37f, x.data() + 1, want.data(), n);
    ops.axpy(0.37f, x.data() + 1, got.data(), n);
    CHECK(Same(got, want));
  });
}

TEST_CASE("every set has the portable bits of swiglu, in place too") {
  ForEach([](const VectorOps& ops, int64_t n) {
    const std::vector<float> gate = EdgyFloats(n, 6), up = RandomFloats(n, 7);
    std::vector<float> want(gate.size()), got(gate.size()), in_place = gate, over_up = up;
    Reference().swiglu(gate.data(), up.data(), want.data(), n);
    ops.swiglu(gate.data(), up.data(), got.data(), n);
    CHECK(Same(got, want));
    ops.swiglu(in_place.data(), up.data(), in_place.data(), n);
    CHECK(Same(in_place, want));
    ops.swiglu(gate.data(), over_up.data(), over_up.data(), n);
    CHECK(Same(over_up, want));
    for (size_t i = 0; i < want.size(); ++i) CHECK(SameBits(want[i], Silu(gate[i]) * up[i]));
  });
}

TEST_CASE("every set has the portable bits of the exponential and its sum") {
  ForEach([](const VectorOps& ops, int64_t n) {
    for (bool edgy : {false, true}) {
      std::vector<float> want = edgy ? EdgyFloats(n, 8) : RandomFloats(n, 8, 5.0f);
      std::vector<float> got = want;
      const float max = edgy ? 1.0f : 20.0f;
      const float want_sum = Reference().exp_sum(want.data(), n, max);
      CHECK(SameBits(ops.exp_sum(got.data(), n, max), want_sum));
      CHECK(Same(got, want));
    }
  });
}

TEST_CASE("every set has the bits of Exp over the whole range") {
  for (const KernelSet* set : AvailableKernelSets()) {
    std::vector<float> x;
    for (uint32_t bits = 0; bits < 0x43000000; bits += 100003) {
      x.push_back(std::bit_cast<float>(bits));
      x.push_back(-x.back());
    }
    REQUIRE(x.size() > 20000);
    std::vector<float> got = x;
    set->ops.exp_sum(got.data(), static_cast<int64_t>(got.size()), 0.0f);
    for (size_t i = 0; i < x.size(); ++i) {
      if (!SameBits(got[i], Exp(x[i]))) FAIL_CHECK(std::string(set->name) << " at " << x[i]);
    }
  }
}

TEST_CASE("every set converts halves as the portable set does") {
  ForEach([](const VectorOps& ops, int64_t n) {
    std::vector<uint16_t> halves(static_cast<size_t>(n));
    std::mt19937 random(9);
    for (uint16_t& half : halves) half = static_cast<uint16_t>(random());
    std::vector<float> want(halves.size()), got(halves.size());
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(halves.data());
    Reference().widen_f16({bytes, 0, 1, n, want.data()});
    ops.widen_f16({bytes, 0, 1, n, got.data()});
    CHECK(Same(got, want));
    const std::vector<float> wide = EdgyFloats(n, 10);
    std::vector<uint16_t> want_halves(wide.size()), got_halves(wide.size());
    Reference().f32_to_f16(wide.data(), want_halves.data(), n);
    ops.f32_to_f16(wide.data(), got_halves.data(), n);
    CHECK(got_halves == want_halves);
  });
}

TEST_CASE("every set converts all 65536 halves and the floats around them") {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  for (const KernelSet* set : AvailableKernelSets()) {
    INFO(std::string(set->name));
    std::vector<float> wide(65536), want(65536);
    set->ops.widen_f16({reinterpret_cast<const uint8_t*>(halves.data()), 0, 1, 65536, wide.data()});
    for (size_t i = 0; i < halves.size(); ++i) want[i] = F16ToF32(halves[i]);
    CHECK(Same(wide, want));
    for (int32_t step : {-0x1001, -0x1000, -0xfff, -1, 0, 1, 0xfff, 0x1000, 0x1001}) {
      std::vector<float> shifted(65536);
      for (size_t i = 0; i < halves.size(); ++i) {
        shifted[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(want[i]) + static_cast<uint32_t>(step));
      }
      std::vector<uint16_t> got(65536), expected(65536);
      set->ops.f32_to_f16(shifted.data(), got.data(), 65536);
      for (size_t i = 0; i < halves.size(); ++i) expected[i] = F32ToF16(shifted[i]);
      CHECK(got == expected);
    }
  }
}

// Rows of cache entries with room between them: random codes behind random scales.
std::vector<uint8_t> RandomBytes(int64_t count, uint32_t seed) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  std::mt19937 random(seed);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST_CASE("every set widens rows that lie apart as the portable set does and touches no more") {
  ForEach([](const VectorOps& ops, int64_t n) {
    constexpr int64_t kRows = 3;
    const auto check = [&](auto widen, int64_t row_bytes) {
      const int64_t stride = row_bytes + 5;
      const std::vector<uint8_t> in = RandomBytes(kRows * stride, static_cast<uint32_t>(n));
      std::vector<float> want(static_cast<size_t>(kRows * n + 1), 7.0f), got = want;
      (Reference().*widen)({in.data(), stride, kRows, n, want.data()});
      (ops.*widen)({in.data(), stride, kRows, n, got.data()});
      CHECK(Same(got, want));
      CHECK(got.back() == 7.0f);
    };
    check(&VectorOps::widen_f16, 2 * n);
    check(&VectorOps::widen_q8, n + (n + 31) / 32 * 2);
  });
}

TEST_CASE("a row of codes is its scales times them, a short last block included") {
  std::vector<uint8_t> row(34 + 2 + 8);
  const uint16_t scales[] = {F32ToF16(0.5f), F32ToF16(-3.0f)};
  std::memcpy(row.data(), &scales[0], 2);
  std::memcpy(row.data() + 34, &scales[1], 2);
  for (int i = 0; i < 32; ++i) row[static_cast<size_t>(2 + i)] = static_cast<uint8_t>(i - 16);
  for (int i = 0; i < 8; ++i) row[static_cast<size_t>(36 + i)] = static_cast<uint8_t>(100 + i);
  for (const KernelSet* set : AvailableKernelSets()) {
    INFO(std::string(set->name));
    std::vector<float> out(40);
    set->ops.widen_q8({row.data(), 0, 1, 40, out.data()});
    for (int i = 0; i < 32; ++i) CHECK(out[static_cast<size_t>(i)] == 0.5f * static_cast<float>(i - 16));
    for (int i = 0; i < 8; ++i) CHECK(out[static_cast<size_t>(32 + i)] == -3.0f * static_cast<float>(100 + i));
  }
}

// Every set's attention operations at shapes with whole and ragged tiles.
template <typename Body>
void ForEachShape(const Body& body) {
  size_t runs = 0;
  for (const KernelSet* set : AvailableKernelSets()) {
    for (int64_t rows : {1, 2, 3, 6, 8, 12, 15, 17, 32, 64}) {
      for (int64_t columns : {1, 15, 16, 24, 33, 64, 100}) {
        INFO(std::string(set->name) << " rows " << rows << " columns " << columns);
        body(set->attention, rows, columns);
        ++runs;
      }
    }
  }
  CHECK(runs == AvailableKernelSets().size() * 70);
}

TEST_CASE("every set adds products by one chain per output and touches no more") {
  ForEachShape([](const AttentionOps& ops, int64_t rows, int64_t columns) {
    const int64_t depth = 37, b_stride = columns + 3, out_stride = columns + 5;
    const std::vector<float> a = RandomFloats(rows * depth, 21), b = RandomFloats(depth * b_stride, 22);
    const std::vector<float> before = RandomFloats(rows * out_stride, 23);
    std::vector<float> want = before;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        float& out = want[static_cast<size_t>(r * out_stride + c)];
        for (int64_t k = 0; k < depth; ++k) {
          out = std::fma(a[static_cast<size_t>(r * depth + k)], b[static_cast<size_t>(k * b_stride + c)], out);
        }
      }
    }
    std::vector<float> got = before;
    ops.add_product({a.data(), depth, 1, b.data(), b_stride, got.data(), out_stride, rows, depth, columns});
    CHECK(Same(got, want));
    std::vector<float> transposed(a.size());
    for (int64_t i = 0; i < rows * depth; ++i) {
      transposed[static_cast<size_t>(i % depth * rows + i / depth)] = a[static_cast<size_t>(i)];
    }
    got = before;
    ops.add_product({transposed.data(), 1, rows, b.data(), b_stride, got.data(), out_stride, rows, depth, columns});
    CHECK(Same(got, want));
  });
}

TEST_CASE("every set takes the same steps of a running softmax") {
  ForEachShape([](const AttentionOps& ops, int64_t keys, int64_t columns) {
    const size_t count = static_cast<size_t>(columns);
    std::vector<float> want_max(count, -kInfinity), want_sum(count, 0.0f), want_fix(count);
    std::vector<float> max = want_max, sum = want_sum, fix = want_fix;
    for (uint32_t step = 0; step < 3; ++step) {
      std::vector<float> want = RandomFloats(keys * columns, 31 + step, 20.0f);
      for (size_t i = count; i < want.size(); i += 7) want[i] = -kInfinity;
      std::vector<float> got = want;
      FindKernelSet("portable")
          ->attention.softmax_step(
              {want.data(), columns, keys, columns, want_max.data(), want_sum.data(), want_fix.data()});
      ops.softmax_step({got.data(), columns, keys, columns, max.data(), sum.data(), fix.data()});
      CHECK(Same(got, want));
      CHECK((Same(max, want_max) && Same(sum, want_sum) && Same(fix, want_fix)));
    }
  });
}

TEST_CASE("steps of a running softmax are a softmax") {
  const std::vector<float> scores = RandomFloats(96, 41, 4.0f);
  double total = 0;
  for (float score : scores) total += std::exp(double{score});
  std::vector<float> steps = scores;
  float max = -kInfinity, sum = 0.0f, correction = 0.0f, before = 0.0f;
  for (int64_t first : {0, 64}) {
    const int64_t keys = first == 0 ? 64 : 32;
    BestKernelSet().attention.softmax_step({steps.data() + first, 1, keys, 1, &max, &sum, &correction});
    if (first == 0) before = steps[5];
  }
  CHECK(std::abs(before * correction / sum - std::exp(double{scores[5]}) / total) < 1e-6);
  CHECK(std::abs(steps[80] / sum - std::exp(double{scores[80]}) / total) < 1e-6);
}

}  // namespace
}  // namespace sluice
