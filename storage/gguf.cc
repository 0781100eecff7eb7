#include "storage/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "storage/gguf_text.h"
#include "storage/gguf_value_reader.h"
#include "storage/header_reader.h"

namespace sluice {
namespace {

constexpr absl::string_view kMagic = "GGUF";
constexpr absl::string_view kAlignmentKey = "general.alignment";
constexpr uint64_t kDefaultAlignment = 32;
constexpr size_t kMaxNameBytes = 65535;
// Key length, one byte of key, value type, one byte of value (an empty key is
// refused); name length, dimension count, type, offset.
constexpr uint64_t kMinKeyBytes = 13;
constexpr uint64_t kMinTensorBytes = 24;
constexpr absl::string_view kDimensionFields[4] = {"dimension 1", "dimension 2", "dimension 3", "dimension 4"};

// What a file that is no GGUF seems to be, with the cure where there is one;
// empty when unknown. `head` is the first bytes of the file.
absl::string_view GuessFormat(absl::string_view head) {
  if (absl::StartsWith(head, "FUGG")) return "a file with its bytes swapped (big-endian)";
  if (absl::StartsWith(head, "version https://git-lfs")) return "a git lfs pointer: run git lfs pull";
  if (absl::StartsWithIgnoreCase(head, "<!doctype") || absl::StartsWithIgnoreCase(head, "<html")) {
    return "an html page saved as a model: download it again";
  }
  if (absl::StartsWith(head, "PK\x03\x04")) return "a zip archive, as pytorch writes them: convert it to gguf";
  for (const absl::string_view old : {"ggml", "ggjt", "ggmf", "ggla", "lmgg", "tjgg", "fmgg", "algg"}) {
    if (absl::StartsWith(head, old)) return "a predecessor of gguf: convert it to gguf";
  }
  return "";
}

// Reads one header, front to back.
class GgufParser {
 public:
  GgufParser(ByteSource* source, absl::string_view name) : source_(source), name_(name), reader_(source, name) {}

  absl::StatusOr<GgufHeader> Parse();

 private:
  absl::Status ReadMagic();
  absl::Status ReadVersion();
  absl::Status ReadKeys(uint64_t count);
  absl::Status ReadKey();
  absl::Status CheckKey(absl::string_view key) const;
  absl::Status ReadTensors(uint64_t count);
  absl::Status ReadTensor(GgufTensor* tensor);
  absl::Status ReadName(GgufTensor* tensor);
  absl::Status ReadDimensions(GgufTensor* tensor);
  absl::Status ReadType(GgufTensor* tensor);
  absl::Status SetBytes(GgufTensor* tensor) const;
  absl::Status FindDataStart();
  absl::Status PlaceTensors();
  absl::Status PlaceTensor(GgufTensor* tensor) const;
  absl::Status CheckOverlap();

  ByteSource* const source_;
  const absl::string_view name_;
  HeaderReader reader_;
  GgufHeader header_;
};

absl::StatusOr<GgufHeader> GgufParser::Parse() {
  uint64_t tensor_count = 0;
  uint64_t key_count = 0;
  RETURN_IF_ERROR(ReadMagic());
  RETURN_IF_ERROR(ReadVersion());
  RETURN_IF_ERROR(reader_.ReadNumber("tensor count", &tensor_count));
  RETURN_IF_ERROR(reader_.ReadNumber("key count", &key_count));
  RETURN_IF_ERROR(reader_.CheckRoom("tensor count", tensor_count, kMinTensorBytes));
  RETURN_IF_ERROR(reader_.CheckRoom("key count", key_count, kMinKeyBytes));
  RETURN_IF_ERROR(ReadKeys(key_count));
  RETURN_IF_ERROR(ReadTensors(tensor_count));
  // The alignment can be the last key, so places are known only now.
  RETURN_IF_ERROR(FindDataStart());
  RETURN_IF_ERROR(PlaceTensors());
  return std::move(header_);
}

absl::Status GgufParser::ReadMagic() {
  char magic[4];
  uint32_t number = 0;
  RETURN_IF_ERROR(reader_.ReadNumber("magic", &number));
  std::memcpy(magic, &number, sizeof(magic));
  const absl::string_view found(magic, sizeof(magic));
  if (found == kMagic) return absl::OkStatus();
  std::string head(std::min<uint64_t>(32, source_->size_bytes()), '\0');
  RETURN_IF_ERROR(source_->Read(0, head.size(), head.data()));
  const absl::string_view guess = GuessFormat(head);
  return reader_.Damaged(
      absl::StrCat("magic is ", QuotedName(found), ", must be 'GGUF'", guess.empty() ? "" : ": this is ", guess));
}

absl::Status GgufParser::ReadVersion() {
  RETURN_IF_ERROR(reader_.ReadNumber("version", &header_.version));
  if (header_.version == 2 || header_.version == 3) return absl::OkStatus();
  if (header_.version != 0 && (header_.version & 0xffff) == 0) {
    return reader_.Unsupported(
        absl::StrCat("version ", header_.version, " is that of a big-endian file: convert it to little-endian"));
  }
  return reader_.Unsupported(absl::StrCat("version ", header_.version, " is not supported, must be 2 or 3"));
}

absl::Status GgufParser::ReadKeys(uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    reader_.set_subject(absl::StrCat("key ", i + 1, " of ", count));
    RETURN_IF_ERROR(ReadKey());
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadKey() {
  std::string key;
  GgufValue value{};
  RETURN_IF_ERROR(reader_.ReadString("key length", &key));
  RETURN_IF_ERROR(CheckKey(key));
  reader_.set_subject(absl::StrCat("key ", QuotedName(key)));
  RETURN_IF_ERROR(ReadGgufValue(&reader_, &value));
  if (header_.metadata.Insert(std::move(key), std::move(value))) return absl::OkStatus();
  return reader_.Damaged("the key occurs twice");
}

absl::Status GgufParser::CheckKey(absl::string_view key) const {
  if (key.empty() || key.size() > kMaxNameBytes) {
    return reader_.Damaged(absl::StrCat("key length ", key.size(), " is not in 1 to ", kMaxNameBytes));
  }
  if (std::all_of(key.begin(), key.end(), [](unsigned char c) { return absl::ascii_isprint(c); })) {
    return absl::OkStatus();
  }
  return reader_.Damaged(absl::StrCat("key ", QuotedName(key), " is not printable ascii"));
}

absl::Status GgufParser::ReadTensors(uint64_t count) {
  header_.tensors.resize(count);
  absl::flat_hash_set<absl::string_view> names;
  for (uint64_t i = 0; i < count; ++i) {
    reader_.set_subject(absl::StrCat("tensor ", i + 1, " of ", count));
    GgufTensor& tensor = header_.tensors[i];
    RETURN_IF_ERROR(ReadTensor(&tensor));
    if (!names.insert(tensor.name).second) return reader_.Damaged("the tensor name occurs twice");
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadTensor(GgufTensor* tensor) {
  RETURN_IF_ERROR(ReadName(tensor));
  reader_.set_subject(absl::StrCat("tensor ", QuotedName(tensor->name)));
  RETURN_IF_ERROR(ReadDimensions(tensor));
  RETURN_IF_ERROR(ReadType(tensor));
  RETURN_IF_ERROR(reader_.ReadNumber("offset", &tensor->offset));
  return SetBytes(tensor);
}

absl::Status GgufParser::ReadName(GgufTensor* tensor) {
  RETURN_IF_ERROR(reader_.ReadString("tensor name length", &tensor->name));
  const size_t length = tensor->name.size();
  if (length >= 1 && length <= kMaxNameBytes) return absl::OkStatus();
  return reader_.Damaged(absl::StrCat("tensor name length ", length, " is not in 1 to ", kMaxNameBytes));
}

absl::Status GgufParser::ReadDimensions(GgufTensor* tensor) {
  uint32_t count = 0;
  RETURN_IF_ERROR(reader_.ReadNumber("dimension count", &count));
  if (count < 1 || count > 4) return reader_.Damaged(absl::StrCat("dimension count ", count, " is not in 1 to 4"));
  tensor->n_dims = static_cast<int>(count);
  uint64_t elements = 1;
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t& dim = tensor->dims[i];
    RETURN_IF_ERROR(reader_.ReadNumber(kDimensionFields[i], &dim));
    if (dim == 0) return reader_.Damaged(absl::StrCat(kDimensionFields[i], " is 0"));
    if (!CheckedMul(elements, dim, &elements) || elements > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return reader_.Damaged(absl::StrCat(kDimensionFields[i], " of ", dim, " takes the tensor beyond 2^63 elements"));
    }
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadType(GgufTensor* tensor) {
  uint32_t number = 0;
  RETURN_IF_ERROR(reader_.ReadNumber("tensor type", &number));
  const TensorTypeInfo* info = FindTensorType(number);
  if (info == nullptr) return reader_.Unsupported(absl::StrCat("tensor type ", number, " is not supported"));
  tensor->type = info->type;
  return absl::OkStatus();
}

absl::Status GgufParser::SetBytes(GgufTensor* tensor) const {
  const TensorTypeInfo& info = InfoOf(tensor->type);
  const uint64_t row = tensor->dims[0];
  if (row % info.block_elements != 0) {
    return reader_.Damaged(absl::StrCat("dimension 1 of ", row, " is no multiple of the ", info.block_elements,
                                        " elements in a block of ", info.name));
  }
  uint64_t bytes = row / info.block_elements;
  bool fits = CheckedMul(bytes, info.block_bytes, &bytes);
  for (int i = 1; i < 4 && fits; ++i) fits = CheckedMul(bytes, tensor->dims[i], &bytes);
  if (!fits) return reader_.Damaged("dimensions make more than 2^64 bytes");
  tensor->bytes = bytes;
  return absl::OkStatus();
}

absl::Status GgufParser::FindDataStart() {
  reader_.set_subject("");
  const absl::StatusOr<uint64_t> alignment = header_.metadata.GetUintOr(kAlignmentKey, kDefaultAlignment);
  if (!alignment.ok()) return WithSubject(name_, alignment.status());
  header_.alignment = *alignment;
  if (!IsPowerOfTwo(header_.alignment)) {
    return reader_.Damaged(absl::StrCat(kAlignmentKey, " ", header_.alignment, " is not a power of two"));
  }
  uint64_t unused = 0;
  if (!CheckedAdd(reader_.position_bytes(), header_.alignment, &unused)) {
    return reader_.Damaged(absl::StrCat(kAlignmentKey, " ", header_.alignment, " puts the data beyond 2^64 bytes"));
  }
  header_.data_start = AlignUp(reader_.position_bytes(), header_.alignment);
  return absl::OkStatus();
}

absl::Status GgufParser::PlaceTensors() {
  for (GgufTensor& tensor : header_.tensors) {
    reader_.set_subject(absl::StrCat("tensor ", QuotedName(tensor.name)));
    RETURN_IF_ERROR(PlaceTensor(&tensor));
  }
  return CheckOverlap();
}

absl::Status GgufParser::PlaceTensor(GgufTensor* tensor) const {
  const uint64_t offset = tensor->offset;
  if (offset % header_.alignment != 0) {
    return reader_.Damaged(absl::StrCat("offset ", offset, " is no multiple of the alignment ", header_.alignment));
  }
  const uint64_t size = source_->size_bytes();
  uint64_t start = 0;
  if (!CheckedAdd(header_.data_start, offset, &start)) {
    return reader_.Damaged(absl::StrCat("offset ", offset, " from data start ", header_.data_start, " wraps"));
  }
  if (start > size || tensor->bytes > size - start) {
    return reader_.Damaged(absl::StrCat("offset ", offset, " puts its ", tensor->bytes, " bytes at ", start,
                                        ", past the end of the file at ", size,
                                        ": the file is cut short, download it again or join its parts"));
  }
  tensor->offset = start;
  return absl::OkStatus();
}

absl::Status GgufParser::CheckOverlap() {
  const std::vector<GgufTensor>& tensors = header_.tensors;
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tensors[a].offset < tensors[b].offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const GgufTensor& before = tensors[order[i - 1]];
    const GgufTensor& after = tensors[order[i]];
    if (after.offset - before.offset >= before.bytes) continue;
    reader_.set_subject(absl::StrCat("tensor ", QuotedName(after.name)));
    return reader_.Damaged(
        absl::StrCat("offset ", after.offset - header_.data_start, " overlaps tensor ", QuotedName(before.name)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufHeader> ParseGguf(ByteSource* source, absl::string_view name) {
  return GgufParser(source, name).Parse();
}

}  // namespace sluice
