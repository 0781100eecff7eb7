#include "src/synth/skewed_rows.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "compute/dequantize.h"

namespace sluice {
namespace {

SynthModel Model(const char* shape, double skew) {
  SynthOptions options;
  options.shape = *FindModelShape(shape);
  options.skew = skew;
  auto model = DescribeSynthModel(options);
  REQUIRE(model.ok());
  return *std::move(model);
}

std::vector<float> Row(const SynthModel& model, const SkewedRows& rows, int64_t token, bool head) {
  const TensorType type = model.tensors[0].type;
  const uint64_t elements = model.tensors[0].dims[0];
  std::vector<uint8_t> bytes(RowBytes(type, elements));
  head ? rows.FillHead(token, absl::MakeSpan(bytes)) : rows.FillEmbedding(token, absl::MakeSpan(bytes));
  std::vector<float> row(elements);
  DequantizeRow(type, bytes.data(), static_cast<int64_t>(elements), row.data());
  return row;
}

double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
  const double ab = std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  const double aa = std::inner_product(a.begin(), a.end(), a.begin(), 0.0);
  const double bb = std::inner_product(b.begin(), b.end(), b.begin(), 0.0);
  return ab / std::sqrt(aa * bb);
}

// The mean cosine of many pairs of tokens.
double MeanCosine(const char* shape, double skew) {
  const SynthModel model = Model(shape, skew);
  const SkewedRows rows(model, model.tensors[0].type);
  double sum = 0;
  for (int64_t token = 0; token < 50; ++token) {
    sum += Cosine(Row(model, rows, token, false), Row(model, rows, token + 50, false));
  }
  return sum / 50;
}

TEST_CASE("tokens have nothing in common without a skew, and the more the larger it is") {
  for (const char* shape : {"tiny", "tiny-glm", "tiny-qwen3", "tiny-gpt-oss"}) {
    CAPTURE(shape);
    CHECK(std::fabs(MeanCosine(shape, 0)) < 0.05);
    const double some = MeanCosine(shape, 0.25);
    CHECK(some > 0.05);
    CHECK(MeanCosine(shape, 1) >= some);
    CHECK(MeanCosine(shape, 1) < 0.9);
  }
}

TEST_CASE("the head prefers tokens of the topic that an embedding is of") {
  const SynthModel model = Model("tiny", 0.5);
  const SkewedRows rows(model, model.tensors[0].type);
  const std::vector<float> embedding = Row(model, rows, 0, false);
  std::vector<double> products;
  for (int64_t token = 1; token < 400; ++token) products.push_back(Cosine(embedding, Row(model, rows, token, true)));
  std::sort(products.begin(), products.end());
  // One token of sixteen is of the topic, and stands out.
  CHECK(products[products.size() - 8] > 0.1);
  CHECK(products[products.size() / 2] < 0.05);
}

TEST_CASE("preferences are even without a skew; with one they fall by Zipf's law, in another order in each layer") {
  const SynthModel even = Model("tiny", 0);
  for (const double preference : SkewedRows(even, even.tensors[0].type).PreferencesOf(2)) CHECK(preference == 0);
  const SynthModel model = Model("tiny", 1);
  const SkewedRows rows(model, model.tensors[0].type);
  std::vector<double> one = rows.PreferencesOf(2), other = rows.PreferencesOf(3);
  CHECK(one != other);
  CHECK(one == rows.PreferencesOf(2));
  std::sort(one.rbegin(), one.rend());
  std::sort(other.rbegin(), other.rend());
  CHECK(one == other);
  // The steps from rank 1 to 2 and from 2 to 4 are one doubling each.
  CHECK(one[0] - one[1] == doctest::Approx(one[1] - one[3]));
  CHECK(one[0] > one[1]);
}

TEST_CASE("what the router adds along the common direction is the expert's preference") {
  const SynthModel model = Model("tiny", 1);
  const SkewedRows rows(model, model.tensors[0].type);
  const std::vector<double> preferences = rows.PreferencesOf(4);
  const size_t common = 256;  // an eighth of 1024, rounded up to a segment
  // The mean over tokens leaves the common part alone.
  std::vector<float> embedding = Row(model, rows, 7, false);
  for (int64_t expert = 0; expert < 64; ++expert) {
    std::vector<uint8_t> bytes(1024 * sizeof(float));
    rows.FillRouter(4, expert, preferences[static_cast<size_t>(expert)], absl::MakeSpan(bytes));
    std::vector<float> weights(1024);
    std::memcpy(weights.data(), bytes.data(), bytes.size());
    const double along = std::inner_product(weights.begin(), weights.begin() + common, embedding.begin(), 0.0);
    // Rows that layers have added to have a little less of it.
    CHECK(0.8 * along == doctest::Approx(preferences[static_cast<size_t>(expert)]).epsilon(0.15));
  }
}

}  // namespace
}  // namespace sluice
