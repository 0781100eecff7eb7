#include "storage/gguf_writer.h"

#include <doctest/doctest.h>

#include "storage/byte_source.h"

namespace sluice {
namespace {

GgufMetadata SomeKeys() {
  GgufMetadata keys;
  keys.Insert("general.architecture", {GgufValueType::kString, std::string("any")});
  keys.Insert("u8", {GgufValueType::kU8, uint64_t{200}});
  keys.Insert("i8", {GgufValueType::kI8, int64_t{-3}});
  keys.Insert("i16", {GgufValueType::kI16, int64_t{-300}});
  keys.Insert("u32", {GgufValueType::kU32, uint64_t{4000000000u}});
  keys.Insert("i64", {GgufValueType::kI64, int64_t{-5000000000}});
  keys.Insert("u64", {GgufValueType::kU64, ~uint64_t{0}});
  keys.Insert("f32", {GgufValueType::kF32, 0.5});
  keys.Insert("f64", {GgufValueType::kF64, 0.1});
  keys.Insert("flag", {GgufValueType::kBool, true});
  keys.Insert("texts", {GgufValueType::kArray, GgufArray{GgufValueType::kString, std::vector<std::string>{"", "é"}}});
  keys.Insert("ints", {GgufValueType::kArray, GgufArray{GgufValueType::kI32, std::vector<int64_t>{-1, 7}}});
  keys.Insert("reals", {GgufValueType::kArray, GgufArray{GgufValueType::kF32, std::vector<double>{0.25, -2}}});
  keys.Insert("general.alignment", {GgufValueType::kU32, uint64_t{64}});
  return keys;
}

GgufTensor Tensor(const std::string& name, TensorType type, std::vector<uint64_t> dims) {
  GgufTensor tensor;
  tensor.name = name;
  tensor.type = type;
  tensor.n_dims = static_cast<int>(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) tensor.dims[i] = dims[i];
  return tensor;
}

TEST_CASE("the reader finds every key and tensor that the writer laid down") {
  std::vector<GgufTensor> tensors = {Tensor("a", TensorType::kF32, {3}), Tensor("b", TensorType::kQ4K, {512, 2, 3}),
                                     Tensor("c", TensorType::kMXFP4, {32, 1})};
  const GgufMetadata keys = SomeKeys();
  GgufLayout layout = LayOutGguf(keys, 64, &tensors);
  CHECK(layout.header.size() % 64 == 0);
  std::string file = layout.header;
  file.resize(layout.file_bytes);
  MemoryByteSource source(file);
  const auto header = ParseGguf(&source, "written");
  REQUIRE_MESSAGE(header.ok(), header.status().ToString());
  CHECK(header->version == 3);
  CHECK(header->alignment == 64);
  CHECK(header->data_start == layout.header.size());
  REQUIRE(header->metadata.entries().size() == keys.entries().size());
  CHECK(*header->metadata.GetUint("u8") == 200);
  CHECK(*header->metadata.GetUint("u32") == 4000000000u);
  CHECK(*header->metadata.GetUint("u64") == ~uint64_t{0});
  CHECK(std::get<int64_t>(header->metadata.Find("i8")->value) == -3);
  CHECK(std::get<int64_t>(header->metadata.Find("i16")->value) == -300);
  CHECK(std::get<int64_t>(header->metadata.Find("i64")->value) == -5000000000);
  CHECK(*header->metadata.GetFloat("f32") == 0.5);
  CHECK(*header->metadata.GetFloat("f64") == 0.1);
  CHECK(*header->metadata.GetBool("flag"));
  CHECK((*header->metadata.GetStrings("texts"))[1] == "é");
  CHECK((*header->metadata.GetInts("ints"))[0] == -1);
  CHECK((*header->metadata.GetFloats("reals"))[1] == -2);
  REQUIRE(header->tensors.size() == 3);
  for (size_t i = 0; i < tensors.size(); ++i) {
    CHECK(header->tensors[i].name == tensors[i].name);
    CHECK(header->tensors[i].type == tensors[i].type);
    CHECK(header->tensors[i].offset == tensors[i].offset);
    CHECK(header->tensors[i].bytes == tensors[i].bytes);
  }
  CHECK(tensors[1].bytes == 144 * 2 * 2 * 3);
}

}  // namespace
}  // namespace sluice
