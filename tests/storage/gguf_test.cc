#include "storage/gguf.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "absl/strings/match.h"
#include "storage/byte_source.h"
#include "tests/storage/gguf_builder.h"

namespace sluice {
namespace {

constexpr uint32_t kF32 = static_cast<uint32_t>(TensorType::kF32);
constexpr uint32_t kQ8 = static_cast<uint32_t>(TensorType::kQ8_0);
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kTop = uint64_t{1} << 63;

absl::StatusOr<GgufHeader> Parse(const std::string& bytes) {
  MemoryByteSource source(bytes);
  return ParseGguf(&source, "some.gguf");
}

// The error for `bytes`, which must be refused with the file's name in one line.
std::string Refusal(const std::string& bytes) {
  const absl::StatusOr<GgufHeader> header = Parse(bytes);
  REQUIRE_FALSE(header.ok());
  CHECK(header.status().code() != absl::StatusCode::kInvalidArgument);
  const std::string message(header.status().message());
  CHECK(absl::StartsWith(message, "some.gguf: "));
  CHECK_FALSE(absl::StrContains(message, "\n"));
  return message;
}

void CheckRefused(const std::string& bytes, const std::string& words) {
  const std::string message = Refusal(bytes);
  CHECK_MESSAGE(absl::StrContains(message, words), message << " should contain: " << words);
}

GgufBuilder Sample() {
  GgufBuilder file;
  file.Text("general.architecture", "llama")
      .U32("test.count", 7)
      .Key("test.words", GgufValueType::kArray,
           PackedArray(GgufValueType::kString, 2, PackedString("a") + PackedString("")))
      .Tensor("token_embd.weight", {4, 3}, kF32, 48)
      .Tensor("blk.0.ffn_up.weight", {32, 2}, kQ8, 68);
  return file;
}

template <typename T>
void CheckScalar(GgufValueType type, T stored) {
  GgufBuilder file;
  file.Key("k", type, Packed(stored));
  const absl::StatusOr<GgufHeader> header = Parse(file.Build());
  REQUIRE(header.ok());
  CHECK(header->metadata.Find("k")->type == type);
  if constexpr (std::is_floating_point_v<T>) {
    CHECK(*header->metadata.GetFloat("k") == static_cast<double>(stored));
  } else if constexpr (std::is_signed_v<T>) {
    CHECK(std::get<int64_t>(header->metadata.Find("k")->value) == stored);
  } else {
    CHECK(*header->metadata.GetUint("k") == stored);
  }
}

// Claims `size` bytes: a header, then zeros, as a sparse file would.
class SparseSource : public ByteSource {
 public:
  SparseSource(std::string head, uint64_t size) : head_(std::move(head)), size_(size) {}
  uint64_t size_bytes() const override { return size_; }
  absl::Status Read(uint64_t offset, size_t length, void* out) override {
    bytes_read_ += length;
    auto* to = static_cast<char*>(out);
    for (size_t i = 0; i < length; ++i) to[i] = offset + i < head_.size() ? head_[offset + i] : '\0';
    return absl::OkStatus();
  }
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  const std::string head_;
  const uint64_t size_;
  uint64_t bytes_read_ = 0;
};

class FailingSource : public ByteSource {
 public:
  uint64_t size_bytes() const override { return 1000; }
  absl::Status Read(uint64_t, size_t, void*) override { return absl::DataLossError("cannot read: disk on fire"); }
};

}  // namespace

TEST_CASE("a small file gives its keys, its data start and its tensors' places") {
  const absl::StatusOr<GgufHeader> header = Parse(Sample().Build());
  REQUIRE(header.ok());
  CHECK(header->version == 3);
  CHECK(header->alignment == 32);
  CHECK(header->data_start == (Sample().Header().size() + 31) / 32 * 32);
  CHECK(header->metadata.entries().size() == 3);
  CHECK(*header->metadata.GetString("general.architecture") == "llama");
  REQUIRE(header->tensors.size() == 2);
  const GgufTensor& second = header->tensors[1];
  CHECK(second.name == "blk.0.ffn_up.weight");
  CHECK(second.type == TensorType::kQ8_0);
  CHECK(second.n_dims == 2);
  CHECK(second.dims[0] == 32);
  CHECK(second.dims[1] == 2);
  CHECK(second.dims[2] == 1);
  CHECK(second.dims[3] == 1);
  CHECK(second.offset == header->data_start + 64);
  CHECK(second.bytes == 68);
}

TEST_CASE("every proper prefix of a file that ends with its last tensor is refused") {
  const std::string bytes = Sample().Build();
  for (size_t length = 0; length < bytes.size(); ++length) Refusal(bytes.substr(0, length));
  CHECK(Parse(bytes).ok());
  CHECK(Parse(bytes + "extra").ok());
}

TEST_CASE("a file without keys and tensors may end without padding") {
  const absl::StatusOr<GgufHeader> header = Parse(GgufBuilder().Build());
  REQUIRE(header.ok());
  CHECK(header->data_start == 32);
  CHECK(header->tensors.empty());
}

TEST_CASE("scalars of every type keep their extremes") {
  CheckScalar<uint8_t>(GgufValueType::kU8, 255);
  CheckScalar<int8_t>(GgufValueType::kI8, -128);
  CheckScalar<uint16_t>(GgufValueType::kU16, 65535);
  CheckScalar<int16_t>(GgufValueType::kI16, -32768);
  CheckScalar<uint32_t>(GgufValueType::kU32, 4294967295u);
  CheckScalar<int32_t>(GgufValueType::kI32, std::numeric_limits<int32_t>::min());
  CheckScalar<uint64_t>(GgufValueType::kU64, kMax);
  CheckScalar<int64_t>(GgufValueType::kI64, std::numeric_limits<int64_t>::min());
  CheckScalar<float>(GgufValueType::kF32, -1.25f);
  CheckScalar<double>(GgufValueType::kF64, 1e300);
}

TEST_CASE("versions 2 and 3 are read, others refused with their number") {
  GgufBuilder file = Sample();
  file.version = 2;
  CHECK(Parse(file.Build()).ok());
  for (const uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    file.version = version;
    CheckRefused(file.Build(), "version " + std::to_string(version) + " is not supported, must be 2 or 3");
  }
  file.version = 3u << 24;
  CheckRefused(file.Build(), "big-endian");
}

TEST_CASE("a file with another magic is named for what it seems to be") {
  CheckRefused("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull");
  CheckRefused("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "magic is 'vers'");
  CheckRefused("<!DOCTYPE html><html>Not found</html>", "html page");
  CheckRefused("PK\x03\x04....................", "zip archive");
  CheckRefused("FUGG....................", "big-endian");
  CheckRefused("tjgg....................", "predecessor");
  CheckRefused("\x01\n\xff!....................", "magic is '\\x01\\n\\xff!', must be 'GGUF'");
}

TEST_CASE("counts that the file cannot hold are refused before anything is reserved") {
  GgufBuilder file = Sample();
  const auto refused = [&](int64_t extra_keys, int64_t extra_tensors, const std::string& words) {
    file.extra_keys = extra_keys;
    file.extra_tensors = extra_tensors;
    CheckRefused(file.Build(), words);
  };
  refused(99999, 0, "key count 100002 does not fit in the ");
  refused(0, 99999, "tensor count 100001 does not fit in the ");
  refused(-4, 0, "key count 18446744073709551615 does not fit");
  refused(0, -3, "tensor count 18446744073709551615 does not fit");
  refused(0, static_cast<int64_t>(kTop / 8), "tensor count");
  // One key more: the first tensor info is read as a key. One fewer: a key is read as tensor info.
  refused(1, 0, "tensor 1 of 2");
  refused(-1, 0, "tensor 'test.words'");
  refused(0, 1, "tensor 3 of 3");
}

TEST_CASE("lengths of keys, strings and names beyond the file are refused, also when they wrap") {
  for (const uint64_t length : {uint64_t{10000}, kTop, kMax, kMax - 30}) {
    const std::string words = "length " + std::to_string(length) + " does not fit in the ";
    const std::string filler(200, 'x');
    CheckRefused("GGUF" + Packed(3u) + Packed<uint64_t>(0) + Packed<uint64_t>(1) + Packed(length) + filler,
                 "key " + words);
    GgufBuilder text;
    text.Key("k", GgufValueType::kString, Packed(length) + filler);
    CheckRefused(text.Build(), "key 'k': string " + words);
    GgufBuilder item;
    item.Key("k", GgufValueType::kArray, PackedArray(GgufValueType::kString, 1, Packed(length) + filler));
    CheckRefused(item.Build(), "key 'k': string " + words);
    CheckRefused("GGUF" + Packed(3u) + Packed<uint64_t>(1) + Packed<uint64_t>(0) + Packed(length) + filler,
                 "tensor name " + words);
  }
}

TEST_CASE("array counts beyond the file are refused, also when count times size wraps") {
  for (const GgufValueType type :
       {GgufValueType::kU8, GgufValueType::kU32, GgufValueType::kString, GgufValueType::kF64}) {
    for (const uint64_t count : {uint64_t{10000}, kTop, kMax, kMax / 4 + 2, kMax / 8 + 2}) {
      GgufBuilder file;
      file.Key("k", GgufValueType::kArray, PackedArray(type, count, std::string(100, '\0')));
      CheckRefused(file.Build(),
                   "key 'k': array count " + std::to_string(count) + " does not fit in the 100 bytes left");
    }
  }
}

TEST_CASE("unknown value types and arrays of arrays are refused") {
  for (const uint32_t type : {13u, 0xffffffffu}) {
    GgufBuilder scalar;
    scalar.Key("k", static_cast<GgufValueType>(type), std::string(64, '\0'));
    CheckRefused(scalar.Build(), "key 'k': value type " + std::to_string(type) + " is unknown");
    GgufBuilder array;
    array.Key("k", GgufValueType::kArray, PackedArray(static_cast<GgufValueType>(type), 1, std::string(64, '\0')));
    CheckRefused(array.Build(), "key 'k': array element type " + std::to_string(type) + " is unknown");
  }
  GgufBuilder nested;
  nested.Key("k", GgufValueType::kArray, PackedArray(GgufValueType::kArray, 1, std::string(64, '\0')));
  CheckRefused(nested.Build(), "arrays of arrays are not supported");
}

TEST_CASE("bools other than 0 and 1 are refused, alone and in arrays") {
  GgufBuilder scalar;
  scalar.Key("k", GgufValueType::kBool, "\x02");
  CheckRefused(scalar.Build(), "key 'k': bool 2 is neither 0 nor 1");
  GgufBuilder array;
  array.Key("k", GgufValueType::kArray, PackedArray(GgufValueType::kBool, 2, "\x01\x03"));
  CheckRefused(array.Build(), "key 'k': bool 3");
}

TEST_CASE("keys must be printable, not empty and unique; errors stay on one line") {
  CheckRefused(GgufBuilder().U32("", 1).Build(), "key 1 of 1: key length 0");
  CheckRefused(GgufBuilder().U32(std::string(65536, 'k'), 1).Build(), "key length 65536");
  CheckRefused(GgufBuilder().U32("a\nb", 1).Build(), "key 'a\\nb' is not printable ascii");
  CheckRefused(GgufBuilder().U32("k", 1).Text("k", "x").Build(), "key 'k': the key occurs twice");
  CheckRefused(GgufBuilder().Info("a\nb", {1}, 99, 0).Build(), "tensor 'a\\nb': tensor type 99");
}

TEST_CASE("tensor names must be unique and not empty") {
  CheckRefused(Sample().Tensor("token_embd.weight", {1}, kF32, 4).Build(), "tensor name occurs twice");
  CheckRefused(Sample().Tensor("", {1}, kF32, 4).Build(), "tensor 3 of 3: tensor name length 0");
  CHECK(Parse(Sample().Tensor(std::string(100, 'n'), {1}, kF32, 4).Build()).ok());
}

TEST_CASE("dimensions are counted, checked for zero and multiplied with care") {
  const auto refused = [](const std::vector<uint64_t>& dims, uint32_t type, const std::string& words) {
    CheckRefused(GgufBuilder().Tensor("t", dims, type, 64).Build(), "tensor 't': " + words);
  };
  refused({}, kF32, "dimension count 0");
  refused({1, 1, 1, 1, 1}, kF32, "dimension count 5");
  refused({4, 0}, kF32, "dimension 2 is 0");
  refused({kMax}, kF32, "dimension 1 of 18446744073709551615 takes");
  refused({kTop}, kF32, "dimension 1");
  refused({uint64_t{1} << 32, uint64_t{1} << 32}, kF32, "dimension 2");
  refused({uint64_t{1} << 22, uint64_t{1} << 21, uint64_t{1} << 21}, kF32, "dimension 3");
  refused({uint64_t{1} << 62}, kF32, "dimensions make more than 2^64 bytes");
  refused({33}, kQ8, "dimension 1 of 33 is no multiple of the 32 elements in a block of q8_0");
  refused({1000}, kF32, "offset 0 puts its 4000 bytes at 64, past the end of the file at 128");
}

TEST_CASE("retired and unknown tensor types are refused with tensor and number") {
  int refused = 0;
  for (const uint32_t type : {4u, 5u, 9u, 15u, 31u, 32u, 33u, 34u, 35u, 36u, 37u, 38u, 40u, 97u, 999u, 0xffffffffu}) {
    CheckRefused(GgufBuilder().Tensor("t", {256}, type, 4096).Build(),
                 "tensor 't': tensor type " + std::to_string(type) + " is not supported");
    ++refused;
  }
  CHECK(refused == 16);
}

TEST_CASE("every tensor type that has a block size is read") {
  int read = 0;
  for (uint32_t number = 0; number < kTensorTypeLimit; ++number) {
    const TensorTypeInfo* info = FindTensorType(number);
    if (info == nullptr) continue;
    const uint64_t bytes = RowBytes(info->type, 256) * 3;
    const absl::StatusOr<GgufHeader> header = Parse(GgufBuilder().Tensor("t", {256, 3}, number, bytes).Build());
    REQUIRE(header.ok());
    CHECK(header->tensors[0].type == info->type);
    CHECK(header->tensors[0].bytes == bytes);
    ++read;
  }
  CHECK(read == 28);
}

TEST_CASE("offsets must be aligned, inside the file and apart") {
  const auto refused = [](uint64_t offset, const std::string& words) {
    CheckRefused(Sample().Info("t", {8}, kF32, offset).Build(), "tensor 't': offset " + std::to_string(offset) + words);
  };
  refused(1, " is no multiple of the alignment 32");
  refused(1 << 20, " puts its 32 bytes at ");
  refused(kMax - 31, " from data start ");
  refused(kTop, " puts its 32 bytes at ");
  refused(32, " overlaps tensor 'token_embd.weight'");
  refused(64, " overlaps tensor");
}

TEST_CASE("any power of two is an alignment, of any integer type and in any place") {
  for (uint64_t alignment = 1; alignment <= 4096; alignment *= 2) {
    GgufBuilder file;
    file.alignment = alignment;
    file.Tensor("a", {3}, static_cast<uint32_t>(TensorType::kI8), 3)
        .Tensor("b", {1}, kF32, 4)
        .U64("general.alignment", alignment);
    const absl::StatusOr<GgufHeader> header = Parse(file.Build());
    REQUIRE(header.ok());
    CHECK(header->alignment == alignment);
    CHECK(header->data_start % alignment == 0);
    CHECK(header->tensors[1].offset == header->data_start + (3 + alignment - 1) / alignment * alignment);
  }
}

TEST_CASE("an alignment that is no power of two or no integer is refused") {
  CheckRefused(Sample().U32("general.alignment", 0).Build(), "general.alignment 0 is not a power of two");
  CheckRefused(Sample().U32("general.alignment", 48).Build(), "general.alignment 48");
  CheckRefused(Sample().U64("general.alignment", kMax).Build(), "general.alignment 18446744073709551615");
  CheckRefused(Sample().U64("general.alignment", kTop).Build(), "past the end of the file");
  CheckRefused(Sample().I32("general.alignment", -32).Build(), "'general.alignment' is -32 (i32), must be an integer");
  CheckRefused(Sample().Text("general.alignment", "32").Build(), "'general.alignment' is '32' (string)");
}

TEST_CASE("a sparse file that claims terabytes of keys is refused after its first window") {
  for (const GgufValueType type : {GgufValueType::kU8, GgufValueType::kString}) {
    GgufBuilder file;
    file.Key("k", GgufValueType::kArray, PackedArray(type, uint64_t{1} << 36, ""));
    SparseSource source(file.Build(), uint64_t{1} << 42);
    const absl::StatusOr<GgufHeader> header = ParseGguf(&source, "sparse.gguf");
    REQUIRE_FALSE(header.ok());
    CHECK(
        absl::StrContains(header.status().message(), "array count 68719476736 makes the header longer than the limit"));
    CHECK(source.bytes_read() <= 256 * 1024);
  }
}

TEST_CASE("tensor data is not read") {
  const uint64_t bytes = uint64_t{1} << 40;
  SparseSource source(GgufBuilder().Info("t", {bytes / 4}, kF32, 0).Build(), bytes + 4096);
  REQUIRE(ParseGguf(&source, "big.gguf").ok());
  CHECK(source.bytes_read() <= 256 * 1024);
}

TEST_CASE("the header of a very large model is read once, window by window") {
  constexpr uint64_t kTokens = 163840;
  constexpr uint64_t kTensors = 1500;
  std::string tokens;
  for (uint64_t i = 0; i < kTokens; ++i) tokens += PackedString(std::to_string(i));
  GgufBuilder file;
  file.Key("tokenizer.ggml.tokens", GgufValueType::kArray, PackedArray(GgufValueType::kString, kTokens, tokens));
  for (uint64_t i = 0; i < kTensors; ++i) file.Info(std::to_string(i), {1 << 20}, kF32, i << 22);
  const std::string bytes = file.Build();
  SparseSource source(bytes, bytes.size() + file.alignment + (kTensors << 22));
  const absl::StatusOr<GgufHeader> header = ParseGguf(&source, "huge.gguf");
  REQUIRE_MESSAGE(header.ok(), header.status().message());
  CHECK(header->metadata.GetStrings("tokenizer.ggml.tokens")->size() == kTokens);
  CHECK(header->metadata.GetStrings("tokenizer.ggml.tokens")->back() == "163839");
  CHECK(header->tensors.size() == kTensors);
  CHECK(source.bytes_read() <= bytes.size() + 256 * 1024);
}

TEST_CASE("strings longer than the window and fields across its edge are read whole") {
  for (size_t length = 262080; length <= 262150; ++length) {
    std::string text(length, 'a');
    text.back() = 'z';
    const std::string bytes = GgufBuilder().Text("k", text).U64("after", kTop + 5).Build();
    const absl::StatusOr<GgufHeader> header = Parse(bytes);
    REQUIRE(header.ok());
    CHECK(*header->metadata.GetString("k") == text);
    CHECK(*header->metadata.GetUint("after") == kTop + 5);
  }
  const std::string huge(1000000, 'q');
  CHECK(*Parse(GgufBuilder().Text("k", huge).Build())->metadata.GetString("k") == huge);
}

TEST_CASE("an error of the source is passed on as it is") {
  FailingSource source;
  CHECK(ParseGguf(&source, "x").status() == absl::DataLossError("cannot read: disk on fire"));
}

}  // namespace sluice
