// The products: every set against the portable one bit for bit, the portable
// one against double precision and against exact dot products.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "compute/dequantize.h"
#include "compute/interleave.h"
#include "tests/compute/compute_test_data.h"

namespace sluice {
namespace {

// Weights, quantised activations and pointers for one product.
struct Product {
  TensorType type;
  int64_t n_in;
  int64_t n_out;
  std::vector<uint8_t> weights;  // rows after one byte, so at an odd address
  std::vector<std::vector<float>> x;
  std::vector<ActivationRow> rows;

  Product(TensorType product_type, ActivationFormat format, int64_t inputs, int64_t outputs, int64_t n_rows,
          const std::vector<uint8_t>& blocks)
      : type(product_type), n_in(inputs), n_out(outputs), weights(blocks.size() + 1) {
    std::copy(blocks.begin(), blocks.end(), weights.begin() + 1);
    for (int64_t r = 0; r < n_rows; ++r) {
      x.push_back(RandomFloats(n_in, static_cast<uint32_t>(100 + r)));
      rows.push_back(Quantized(format, x.back()));
    }
  }
};

// Outputs of rows [first, first + count), packed row after row.
std::vector<float> Run(MatMulFn matmul, const Product& product, int64_t first, int64_t count) {
  std::vector<float> out(static_cast<size_t>(count * product.n_out), -12345.0f);
  std::vector<const void*> activations;
  std::vector<float*> outputs;
  for (int64_t r = 0; r < count; ++r) {
    activations.push_back(product.rows[static_cast<size_t>(first + r)].data());
    outputs.push_back(out.data() + r * product.n_out);
  }
  MatMulArgs args = {};
  args.type = product.type;
  args.weights = product.weights.data() + 1;
  args.n_in = product.n_in;
  args.n_out = product.n_out;
  args.activations = activations.data();
  args.outputs = outputs.data();
  args.n_rows = count;
  matmul(args);
  return out;
}
std::vector<float> Run(const Kernel& kernel, const Product& product, int64_t first, int64_t count) {
  return Run(kernel.matmul, product, first, count);
}

std::vector<float> RunAll(const Kernel& kernel, const Product& product) {
  return Run(kernel, product, 0, static_cast<int64_t>(product.rows.size()));
}

Product Interleaved(Product product) {
  const size_t panel_bytes = kInterleavedRows * RowBytes(product.type, product.n_in);
  std::vector<uint8_t> scratch(panel_bytes);
  for (size_t panel = 1; panel < product.weights.size(); panel += panel_bytes) {
    InterleavePanel(product.type, product.n_in, product.weights.data() + panel, scratch.data());
  }
  return product;
}

std::vector<const KernelSet*> AllSets() {
  std::vector<const KernelSet*> sets(AvailableKernelSets().begin(), AvailableKernelSets().end());
  sets.push_back(&FloatKernelSet());
  return sets;
}

const KernelSet& Portable() { return *FindKernelSet("portable"); }

// Row lengths that end in the middle of every kind of stride.
std::vector<int64_t> LengthsFor(TensorType type) {
  switch (InfoOf(type).block_elements) {
    case 1:
      return {1, 7, 16, 31, 33, 100, 256, 1039, 2080};
    case 32:
      return {32, 64, 96, 160, 256, 288, 544, 1056};
    default:
      return {256, 512, 768, 1280};
  }
}

// The reference that a set must equal: the portable products for integers, for
// the "float" set the float product of decoded weights.
std::vector<float> Expected(const KernelSet& set, const Product& product) {
  if (set.name != "float") return RunAll(Portable().For(product.type), product);
  std::vector<float> decoded(static_cast<size_t>(product.n_in * product.n_out));
  DequantizeRow(product.type, product.weights.data() + 1, product.n_in * product.n_out, decoded.data());
  std::vector<uint8_t> bytes(decoded.size() * sizeof(float));
  std::memcpy(bytes.data(), decoded.data(), bytes.size());
  const int64_t n_rows = static_cast<int64_t>(product.rows.size());
  const Product plain(TensorType::kF32, ActivationFormat::kF32, product.n_in, product.n_out, n_rows, bytes);
  return RunAll(Portable().For(TensorType::kF32), plain);
}

void CheckEqual(const KernelSet& set, const Product& product) {
  const std::vector<float> want = Expected(set, product);
  const std::vector<float> got = RunAll(set.For(product.type), product);
  INFO(std::string(set.name) << " " << std::string(InfoOf(product.type).name) << " n_in " << product.n_in << " n_out "
                             << product.n_out << " rows " << product.rows.size());
  CHECK(FirstDifference(got.data(), want.data(), static_cast<int64_t>(want.size())) == -1);
}

TEST_CASE("the registry lists distinct sets with portable last and finds each by name") {
  const auto sets = AvailableKernelSets();
  REQUIRE(!sets.empty());
  CHECK(sets.back()->name == "portable");
  CHECK(&BestKernelSet() == sets.front());
  std::set<std::string> names;
  for (const KernelSet* set : sets) {
    MESSAGE("available: " << std::string(set->name));
    names.insert(std::string(set->name));
    CHECK(FindKernelSet(set->name) == set);
  }
  CHECK(names.size() == sets.size());
  CHECK(FindKernelSet("float") == &FloatKernelSet());
  CHECK(FindKernelSet("neon9000") == nullptr);
}

#if defined(__aarch64__)
TEST_CASE("the matrix instructions of arm64 come before the dot product and never without it") {
  const auto sets = AvailableKernelSets();
  std::vector<std::string> names;
  for (const KernelSet* set : sets) names.push_back(std::string(set->name));
  const std::vector<std::string> all = {"neon_i8mm", "neon", "portable"};
  REQUIRE(names.size() <= all.size());
  CHECK(std::equal(names.rbegin(), names.rend(), all.rbegin()));
}
#endif

ActivationFormat FormatOf(const TensorTypeInfo& info) {
  if (info.block_elements == 32) return ActivationFormat::kQ8Block32;
  const bool fine = info.type == TensorType::kQ4K || info.type == TensorType::kQ5K || info.type == TensorType::kQ6K;
  return fine ? ActivationFormat::kQ8Groups256 : ActivationFormat::kQ8Block256;
}

TEST_CASE("every set has all types, in the format that the type demands") {
  REQUIRE(WeightTypes().size() == kWeightTypes);
  for (const KernelSet* set : AllSets()) {
    size_t found = 0;
    for (uint32_t number = 0; number < kTensorTypeLimit; ++number) {
      const TensorTypeInfo* info = FindTensorType(number);
      if (info == nullptr || !info->is_weight) {
        CHECK(!static_cast<bool>(set->kernels[number].matmul));
        continue;
      }
      REQUIRE(static_cast<bool>(set->kernels[number].matmul));
      const bool is_float = set->name == "float" || info->block_elements == 1;
      CHECK(set->kernels[number].format == (is_float ? ActivationFormat::kF32 : FormatOf(*info)));
      ++found;
    }
    CHECK(found == kWeightTypes);
    for (QuantizeFn quantize : set->quantize) CHECK(static_cast<bool>(quantize));
  }
}

TEST_CASE("products have the portable bits in every set, for all lengths and row counts") {
  size_t products = 0;
  std::set<TensorType> covered;
  for (const KernelSet* set : AllSets()) {
    for (TensorType type : WeightTypes()) {
      uint32_t seed = 1;
      for (int64_t n_in : LengthsFor(type)) {
        for (int64_t n_rows : {1, 2, 3, 7, 16, 33}) {
          const int64_t n_out = 1 + (seed * 7) % 19;
          const std::vector<uint8_t> blocks = RandomRows(type, n_in, n_out, seed++);
          CheckEqual(*set, Product(type, set->For(type).format, n_in, n_out, n_rows, blocks));
          ++products;
        }
      }
      covered.insert(type);
    }
  }
  CHECK(covered.size() == kWeightTypes);
  CHECK(products >= AllSets().size() * kWeightTypes * 4 * 6);
}

// Tiles, panels and chunks of every set end somewhere between these.
TEST_CASE("products have the portable bits on both sides of where a tile, a panel or a chunk of rows ends") {
  size_t products = 0;
  for (TensorType type : {TensorType::kQ4K, TensorType::kQ6K, TensorType::kQ5_1, TensorType::kF16}) {
    for (int64_t n_out : {3, 4, 5, 15, 17, 33}) {
      for (int64_t n_rows : {4, 5, 9, 63, 65, 66, 131}) {
        const std::vector<uint8_t> blocks = RandomRows(type, 256, n_out, static_cast<uint32_t>(n_rows));
        const Product product(type, Portable().For(type).format, 256, n_out, n_rows, blocks);
        for (const KernelSet* set : AvailableKernelSets()) CheckEqual(*set, product);
        ++products;
      }
    }
  }
  CHECK(products == 4 * 6 * 7);
}

// Tiles of every size, pairs of panels, groups of pairs and slices of blocks, all with a rest.
TEST_CASE("products of many rows have the portable bits in tiles that end in rests of every kind") {
  size_t products = 0;
  for (TensorType type : WeightTypes()) {
    const int64_t n_in = InfoOf(type).block_elements == 256 ? 768 : 544;
    for (int64_t n_out : {32, 97}) {
      for (int64_t n_rows : {2, 3, 4, 6, 9, 10, 15, 20, 23, 25, 26, 31, 90}) {
        const std::vector<uint8_t> blocks = RandomRows(type, n_in, n_out, static_cast<uint32_t>(n_rows));
        const Product product(type, Portable().For(type).format, n_in, n_out, n_rows, blocks);
        for (const KernelSet* set : AvailableKernelSets()) CheckEqual(*set, product);
        ++products;
      }
    }
  }
  CHECK(products == kWeightTypes * 2 * 13);
}

TEST_CASE("products of blocks with wild scales have the portable bits too") {
  for (const KernelSet* set : AllSets()) {
    for (TensorType type : WeightTypes()) {
      for (uint32_t seed = 0; seed < 20; ++seed) {
        const int64_t n_out = seed % 2 == 0 ? 9 : 33, n_rows = seed % 2 == 0 ? 5 : 21;
        const std::vector<uint8_t> blocks = RandomRows(type, 512, n_out, seed, /*tame=*/false);
        CheckEqual(*set, Product(type, set->For(type).format, 512, n_out, n_rows, blocks));
      }
    }
  }
}

void CheckInterleaved(const KernelSet& set, const Product& product) {
  const int64_t n_rows = static_cast<int64_t>(product.rows.size());
  const std::vector<float> want = Expected(set, product);
  const std::vector<float> got = Run(set.For(product.type).matmul_interleaved, Interleaved(product), 0, n_rows);
  INFO(std::string(set.name) << " " << std::string(InfoOf(product.type).name) << " n_in " << product.n_in << " n_out "
                             << product.n_out << " rows " << n_rows);
  CHECK(FirstDifference(got.data(), want.data(), static_cast<int64_t>(want.size())) == -1);
}

// Long and short rows, in panels alone, in pairs and in groups with a rest; few rows, tiles and rests of tiles.
TEST_CASE("interleaved panels, one row too, have the portable bits of the rows they were made of") {
  size_t products = 0;
  for (const KernelSet* set : AvailableKernelSets()) {
    for (TensorType type : WeightTypes()) {
      const Kernel& kernel = set->For(type);
      if (kernel.matmul_interleaved == nullptr) continue;
      for (uint32_t seed = 0; seed < 12; ++seed) {
        const int64_t n_in = 256 * (1 + seed % 5), n_out = 16 * (1 + seed % 7);
        const std::vector<uint8_t> blocks = RandomRows(type, n_in, n_out, seed, /*tame=*/seed % 2 == 0);
        for (int64_t n_rows : {1, 2, 7, 25, 90}) {
          const Product product(type, kernel.format, n_in, n_out, n_rows, blocks);
          CheckEqual(*set, product);
          CheckInterleaved(*set, product);
          ++products;
        }
      }
    }
  }
  CHECK(products == (FindKernelSet("avx512_vbmi") == nullptr ? 0 : 7 * 12 * 5));
}

TEST_CASE("products of the reference blocks have the portable bits") {
  SKIP_WITHOUT_SHARED("formats/random");
  size_t products = 0;
  for (const KernelSet* set : AllSets()) {
    for (TensorType type : WeightTypes()) {
      for (const char* folder : {"vectors", "random"}) {
        const std::string name = type == TensorType::kF32 ? "bf16" : std::string(InfoOf(type).name);
        const std::string text =
            ReadFileToString(SharedPath("formats/" + std::string(folder) + "/" + name + ".blocks"));
        const int64_t n_out = static_cast<int64_t>(text.size() / RowBytes(type, 1024));
        REQUIRE(n_out > 0);
        const size_t used = RowBytes(type, 1024) * static_cast<size_t>(n_out);
        CheckEqual(*set, Product(type, set->For(type).format, 1024, n_out, 4,
                                 {text.begin(), text.begin() + static_cast<int64_t>(used)}));
        ++products;
      }
    }
  }
  CHECK(products == AllSets().size() * kWeightTypes * 2);
}

// Codes and sub-scales at their extremes, where a narrow intermediate would saturate.
// Every byte the same, under scales of ordinary size.
std::vector<uint8_t> FilledRows(TensorType type, uint8_t fill, uint64_t bytes) {
  std::vector<uint8_t> blocks(bytes, fill);
  std::mt19937 random(fill);
  for (size_t at = 0; at < blocks.size(); at += InfoOf(type).block_bytes) {
    uint8_t* block = blocks.data() + at;
    TameScales(type, block, &random);
    // The largest of all sums: codes of -32 under scales of -128.
    if (type == TensorType::kQ6K && fill == 0) std::memset(block + 192, 0x80, 16);
  }
  return blocks;
}

// Full-size activations, all of one sign or in patterns of signs.
void FillSigns(ActivationFormat format, Product* product) {
  for (size_t r = 0; r < product->rows.size(); ++r) {
    std::vector<float>& x = product->x[r];
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = r == 0 || (r == 1 && i % 2 != 0) || (r == 2 && i % 3 != 0) ? 1.0f : -1.0f;
    product->rows[r] = Quantized(format, x);
  }
}

TEST_CASE("codes, scales and activations at their extremes do not saturate, interleaved or not") {
  size_t products = 0;
  for (const KernelSet* set : AvailableKernelSets()) {
    for (TensorType type : WeightTypes()) {
      for (uint8_t fill : {0x00, 0x7f, 0x80, 0xff, 0x88, 0x77, 0xf0, 0x0f}) {
        const ActivationFormat format = set->For(type).format;
        Product product(type, format, 512, 3, 4, FilledRows(type, fill, RowBytes(type, 512) * 3));
        FillSigns(format, &product);
        INFO(int{fill});
        CheckEqual(*set, product);
        ++products;
        for (int64_t n_rows : {1, 3}) {
          Product panels(type, format, 512, 32, n_rows, FilledRows(type, fill, RowBytes(type, 512) * 32));
          FillSigns(format, &panels);
          if (set->For(type).matmul_interleaved != nullptr) CheckInterleaved(*set, panels);
        }
      }
    }
  }
  CHECK(products == AvailableKernelSets().size() * kWeightTypes * 8);
}

// Kernels may sum more products at once where activations are small enough for it:
// rows on both sides of any such limit, alone and mixed within a tile.
TEST_CASE("tiles do not saturate at extremes, whether all of their rows are large, none is or parts of some are") {
  size_t products = 0, large = 0, small = 0;
  for (TensorType type : WeightTypes()) {
    for (uint8_t fill : {0x00, 0x7f, 0x80, 0xff}) {
      const ActivationFormat format = Portable().For(type).format;
      Product product(type, format, 512, 33, 40, FilledRows(type, fill, RowBytes(type, 512) * 33));
      for (size_t r = 0; r < product.rows.size(); ++r) {
        // One value of 127 and others of any one magnitude, or of one for each sixteen, all of one sign; half of the
        // rows are as RandomFloats made them.
        std::vector<float>& x = product.x[r];
        for (size_t i = 0; r < 20 && i < x.size(); ++i) {
          const float rest = static_cast<float>((r + i / 16 * (r % 3)) % 13) * 10.0f + 7.0f;
          x[i] = i % 256 == 0 ? -127.0f : -rest;
        }
        product.rows[r] = Quantized(format, x);
        if (InfoOf(type).block_elements != 256) continue;
        const uint8_t(&magnitudes)[16] = static_cast<const Q8Block256*>(product.rows[r].data())->magnitudes;
        ++(*std::max_element(magnitudes, magnitudes + 16) > 1500 / 8 ? large : small);
      }
      for (const KernelSet* set : AvailableKernelSets()) CheckEqual(*set, product);
      ++products;
    }
  }
  CHECK(products == kWeightTypes * 4);
  CHECK(large >= 100);
  CHECK(small >= 1000);
}

TEST_CASE("a row alone and a slice of the outputs have the bits they have in a tile") {
  for (const KernelSet* set : AllSets()) {
    for (TensorType type : WeightTypes()) {
      const int64_t n_rows = 70;  // more than any tile
      const std::vector<uint8_t> blocks = RandomRows(type, 512, 6, 11);
      const Product product(type, set->For(type).format, 512, 6, n_rows, blocks);
      const std::vector<float> tile = RunAll(set->For(type), product);
      INFO(std::string(set->name) << " " << std::string(InfoOf(type).name));
      for (int64_t r : {0, 1, 31, 63, 64, 69}) {
        const std::vector<float> alone = Run(set->For(type), product, r, 1);
        CHECK(FirstDifference(alone.data(), tile.data() + 6 * r, 6) == -1);
      }
      const size_t skipped = RowBytes(type, 512) * 4;
      Product slice(type, set->For(type).format, 512, 2, n_rows,
                    {blocks.begin() + static_cast<int64_t>(skipped), blocks.end()});
      const std::vector<float> part = RunAll(set->For(type), slice);
      for (int64_t r = 0; r < n_rows; ++r)
        CHECK(FirstDifference(part.data() + 2 * r, tile.data() + 6 * r + 4, 2) == -1);
    }
  }
}

// The activation that a kernel sees, in double.
double ActivationValue(const Product& product, ActivationFormat format, size_t row, int64_t i) {
  const void* data = product.rows[row].data();
  if (format == ActivationFormat::kF32) return static_cast<const float*>(data)[i];
  if (format == ActivationFormat::kQ8Block32) {
    const Q8Block32x8& pack = static_cast<const Q8Block32x8*>(data)[i / 256];
    return static_cast<double>(pack.scales[i / 32 % 8]) * pack.values[i / 32 % 8][i % 32];
  }
  const Q8Block256& block = static_cast<const Q8Block256*>(data)[i / 256];
  return static_cast<double>(block.scale) * block.factors[i / 32 % 8] * block.values[i % 256];
}

TEST_CASE("portable products agree with double precision on the same codes") {
  for (TensorType type : WeightTypes()) {
    const Kernel& kernel = Portable().For(type);
    const Product product(type, kernel.format, 1280, 8, 3, RandomRows(type, 1280, 8, 21));
    const std::vector<float> got = RunAll(kernel, product);
    std::vector<float> weights(1280 * 8);
    DequantizeRow(type, product.weights.data() + 1, 1280 * 8, weights.data());
    INFO(std::string(InfoOf(type).name));
    for (size_t r = 0; r < 3; ++r) {
      for (size_t o = 0; o < 8; ++o) {
        double sum = 0, w_squares = 0, a_squares = 0;
        for (size_t i = 0; i < 1280; ++i) {
          const double w = weights[o * 1280 + i];
          const double a = ActivationValue(product, kernel.format, r, static_cast<int64_t>(i));
          sum += w * a;
          w_squares += w * w;
          a_squares += a * a;
        }
        REQUIRE(w_squares > 0);
        CHECK(std::abs(got[r * 8 + o] - sum) <= 5e-7 * std::sqrt(w_squares * a_squares));
      }
    }
  }
}

// The canonical chains written out for one type of each kind.
TEST_CASE("q8_0 enters one chain block by block") {
  const std::vector<uint8_t> blocks = RandomRows(TensorType::kQ8_0, 320, 1, 31);
  const Product product(TensorType::kQ8_0, ActivationFormat::kQ8Block32, 320, 1, 1, blocks);
  const Q8Block32x8* packs = static_cast<const Q8Block32x8*>(product.rows[0].data());
  float chain = 0;
  for (size_t b = 0; b < 10; ++b) {
    uint16_t half;
    std::memcpy(&half, blocks.data() + 34 * b, 2);
    int sum = 0;
    for (size_t i = 0; i < 32; ++i) sum += static_cast<int8_t>(blocks[34 * b + 2 + i]) * packs[b / 8].values[b % 8][i];
    chain = std::fma(F16ToF32(half) * packs[b / 8].scales[b % 8], static_cast<float>(sum), chain);
  }
  CHECK(SameBits(RunAll(Portable().For(TensorType::kQ8_0), product)[0], chain));
}

TEST_CASE("q6_K meets each 32 activations with their factor") {
  const std::vector<uint8_t> blocks = RandomRows(TensorType::kQ6K, 512, 1, 33);
  Product product(TensorType::kQ6K, ActivationFormat::kQ8Groups256, 512, 1, 1, blocks);
  for (size_t i = 0; i < 512; ++i) product.x[0][i] *= static_cast<float>(1 + i / 32 % 5);
  product.rows[0] = Quantized(ActivationFormat::kQ8Groups256, product.x[0]);
  const Q8Block256* row = static_cast<const Q8Block256*>(product.rows[0].data());
  std::set<int> factors;
  float chain = 0;
  for (size_t b = 0; b < 2; ++b) {
    const uint8_t* block = blocks.data() + 210 * b;
    uint16_t d;
    std::memcpy(&d, block + 208, 2);
    int sum = 0;
    for (int i = 0; i < 256; ++i) {
      const int half = i / 128, l = i % 32, part = i / 32 % 4;
      const int low = block[64 * half + 32 * (part % 2) + l] >> (4 * (part / 2)) & 15;
      const int high = block[128 + 32 * half + l] >> (2 * part) & 3;
      const int scale = static_cast<int8_t>(block[192 + i / 16]);
      sum += scale * (low + 16 * high - 32) * row[b].factors[i / 32] * row[b].values[i];
      factors.insert(row[b].factors[i / 32]);
    }
    chain = std::fma(F16ToF32(d) * row[b].scale, static_cast<float>(sum), chain);
  }
  CHECK(SameBits(RunAll(Portable().For(TensorType::kQ6K), product)[0], chain));
  CHECK(factors.size() >= 3);
}

TEST_CASE("q2_K has a chain of products and a chain of minimums") {
  const std::vector<uint8_t> blocks = RandomRows(TensorType::kQ2K, 768, 1, 32);
  const Product product(TensorType::kQ2K, ActivationFormat::kQ8Block256, 768, 1, 1, blocks);
  const Q8Block256* row = static_cast<const Q8Block256*>(product.rows[0].data());
  float main = 0, minimum = 0;
  for (size_t b = 0; b < 3; ++b) {
    const uint8_t* block = blocks.data() + 84 * b;
    uint16_t d, dmin;
    std::memcpy(&d, block + 80, 2);
    std::memcpy(&dmin, block + 82, 2);
    int sum = 0, minimum_sum = 0;
    for (int i = 0; i < 256; ++i) {
      const int q = (block[16 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
      sum += (block[i / 16] & 15) * q * row[b].values[i];
      minimum_sum += (block[i / 16] >> 4) * row[b].values[i];
    }
    main = std::fma(F16ToF32(d) * row[b].scale, static_cast<float>(sum), main);
    minimum = std::fma(-(F16ToF32(dmin) * row[b].scale), static_cast<float>(minimum_sum), minimum);
  }
  CHECK(SameBits(RunAll(Portable().For(TensorType::kQ2K), product)[0], main + minimum));
}

// Rows of formats/vectors against the activation vectors of formats/dots.
class ExactDots {
 public:
  ExactDots() : json_(nlohmann::json::parse(ReadFileToString(SharedPath("formats/dots/dots.json")))) {}

  // Calls check(type, error of each row divided by its norm, the entry of dots.json).
  template <typename Check>
  size_t ForEach(const KernelSet& set, const Check& check) const {
    size_t checked = 0;
    for (const auto& [name, activation] : json_["activations"].items()) {
      const std::vector<float> x = ReadFloats("formats/dots/" + activation["file"].template get<std::string>());
      REQUIRE(x.size() == 1024);
      for (const auto& [type_name, entry] : activation["types"].items()) {
        const TensorTypeInfo* info = FindTensorType(absl::string_view(type_name));
        REQUIRE(info != nullptr);
        const std::string label = name + " " + type_name;
        INFO(label);
        check(info->type, Errors(set, info->type, x, entry), entry);
        ++checked;
      }
    }
    return checked;
  }

 private:
  static std::vector<double> Errors(const KernelSet& set, TensorType type, const std::vector<float>& x,
                                    const nlohmann::json& entry) {
    const std::string path = "formats/vectors/" + std::string(InfoOf(type).name) + ".blocks";
    const std::string blocks = ReadFileToString(SharedPath(path));
    Product product(type, set.For(type).format, 1024, 4, 1, {blocks.begin(), blocks.end()});
    product.rows[0] = Quantized(set.For(type).format, x);
    const std::vector<float> got = RunAll(set.For(type), product);
    std::vector<double> errors;
    for (size_t r = 0; r < 4; ++r) {
      errors.push_back(std::abs(got[r] - entry["dot"][r].get<double>()) / entry["norm"][r].get<double>());
    }
    return errors;
  }

  nlohmann::json json_;
};

TEST_CASE("float products are exact to a millionth of the norm") {
  SKIP_WITHOUT_SHARED("formats/dots/dots.json");
  const ExactDots dots;
  double worst = 0;
  const size_t checked = dots.ForEach(FloatKernelSet(), [&](TensorType, const auto& errors, const auto&) {
    for (double error : errors) {
      worst = std::max(worst, error);
      CHECK(error < 1e-6);
    }
  });
  MESSAGE("worst error of the float set: " << worst << " of the norm");
  CHECK(checked == 3 * (kWeightTypes - 1));
}

TEST_CASE("integer products err by no more than twice what 8-bit activations cost") {
  SKIP_WITHOUT_SHARED("formats/dots/dots.json");
  const ExactDots dots;
  for (const KernelSet* set : AvailableKernelSets()) {
    double worst = 0;
    const size_t checked = dots.ForEach(*set, [&](TensorType type, const auto& errors, const auto& entry) {
      const ActivationFormat format = set->For(type).format;
      const char* field = format == ActivationFormat::kQ8Block32 ? "err_q8_32" : "err_q8_256";
      double allowed = 1e-6;
      if (format != ActivationFormat::kF32) {
        for (const auto& cost : entry[field]) allowed = std::max(allowed, 2 * cost.template get<double>());
      }
      for (double error : errors) {
        worst = std::max(worst, error / allowed);
        CHECK(error <= allowed);
      }
    });
    MESSAGE(std::string(set->name) << ": worst error " << worst << " of what is allowed");
    CHECK(checked == 3 * (kWeightTypes - 1));
  }
}

}  // namespace
}  // namespace sluice
