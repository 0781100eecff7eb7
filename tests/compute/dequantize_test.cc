#include "compute/dequantize.h"

#include "tests/compute/compute_test_data.h"

namespace sluice {
namespace {

// Decodes FOLDER/NAME.blocks for every type and returns how many were there.
size_t CheckFolder(const std::string& folder) {
  size_t checked = 0;
  for (TensorType type : WeightTypes()) {
    if (type == TensorType::kF32) continue;
    const std::string stem = "formats/" + folder + "/" + std::string(InfoOf(type).name);
    const std::string blocks = ReadFileToString(SharedPath(stem + ".blocks"));
    const std::vector<float> want = ReadFloats(stem + ".f32");
    INFO(stem);
    REQUIRE(!want.empty());
    REQUIRE(RowBytes(type, want.size()) == blocks.size());
    // An odd address, and a buffer that ends with the last block.
    std::vector<char> odd(blocks.size() + 1);
    std::memcpy(odd.data() + 1, blocks.data(), blocks.size());
    std::vector<float> got(want.size());
    DequantizeRow(type, odd.data() + 1, static_cast<int64_t>(got.size()), got.data());
    CHECK(FirstDifference(got.data(), want.data(), static_cast<int64_t>(want.size())) == -1);
    ++checked;
  }
  return checked;
}

TEST_CASE("all block types decode the quantised vectors bit for bit") {
  SKIP_WITHOUT_SHARED("formats/vectors");
  CHECK(CheckFolder("vectors") == kWeightTypes - 1);
}

TEST_CASE("all block types decode random blocks bit for bit") {
  SKIP_WITHOUT_SHARED("formats/random");
  CHECK(CheckFolder("random") == kWeightTypes - 1);
}

TEST_CASE("f32 rows are copied as they are") {
  const std::vector<float> want = {0.0f, -0.0f, 1.5f, -1e-45f, 3e38f};
  std::vector<float> got(want.size());
  DequantizeRow(TensorType::kF32, want.data(), 5, got.data());
  CHECK(FirstDifference(got.data(), want.data(), 5) == -1);
}

TEST_CASE("a code of zero under a negative scale is minus zero") {
  uint8_t block[18] = {};
  const uint16_t minus_one = F32ToF16(-1.0f);
  std::memcpy(block, &minus_one, 2);
  std::memset(block + 2, 0x88, 16);
  float got[32];
  DequantizeRow(TensorType::kQ4_0, block, 32, got);
  for (float value : got) CHECK(SameBits(value, -0.0f));
}

TEST_CASE("a row decoded in pieces equals the row decoded at once") {
  for (TensorType type : WeightTypes()) {
    const std::vector<uint8_t> blocks = RandomRows(type, 1024, 1, 7);
    std::vector<float> whole(1024), pieces(1024);
    DequantizeRow(type, blocks.data(), 1024, whole.data());
    for (int64_t start = 0; start < 1024; start += 256) {
      const uint64_t offset = RowBytes(type, static_cast<uint64_t>(start));
      DequantizeRow(type, blocks.data() + offset, 256, pieces.data() + start);
    }
    INFO(std::string(InfoOf(type).name));
    CHECK(FirstDifference(whole.data(), pieces.data(), 1024) == -1);
  }
}

}  // namespace
}  // namespace sluice
