#include "storage/gguf_value_reader.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace sluice {
namespace {

absl::Status ReadBool(HeaderReader* reader, uint8_t* out) {
  RETURN_IF_ERROR(reader->ReadNumber("bool", out));
  if (*out <= 1) return absl::OkStatus();
  return reader->Damaged(absl::StrCat("bool ", *out, " is neither 0 nor 1"));
}

template <typename Stored, typename Held>
absl::Status ReadScalar(HeaderReader* reader, GgufValue* out) {
  Stored number{};
  RETURN_IF_ERROR(reader->ReadNumber("value", &number));
  out->value.emplace<Held>(static_cast<Held>(number));
  return absl::OkStatus();
}

absl::Status ReadFlag(HeaderReader* reader, GgufValue* out) {
  uint8_t flag = 0;
  RETURN_IF_ERROR(ReadBool(reader, &flag));
  out->value.emplace<bool>(flag == 1);
  return absl::OkStatus();
}

// The items of an array. `each_bytes` is what the shortest item takes in the
// file: memory is reserved only for a count that the rest of the file can hold.
template <typename Held, typename ReadItem>
absl::Status ReadItems(HeaderReader* reader, uint64_t count, uint64_t each_bytes, GgufArray* out, ReadItem read_item) {
  RETURN_IF_ERROR(reader->CheckRoom("array count", count, each_bytes));
  auto& items = out->items.emplace<std::vector<Held>>();
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    Held item{};
    RETURN_IF_ERROR(read_item(&item));
    items.push_back(std::move(item));
  }
  return absl::OkStatus();
}

template <typename Stored, typename Held>
absl::Status ReadNumbers(HeaderReader* reader, uint64_t count, GgufArray* out) {
  return ReadItems<Held>(reader, count, sizeof(Stored), out, [reader](Held* item) {
    Stored number{};
    RETURN_IF_ERROR(reader->ReadNumber("array item", &number));
    *item = static_cast<Held>(number);
    return absl::OkStatus();
  });
}

absl::Status ReadFlags(HeaderReader* reader, uint64_t count, GgufArray* out) {
  return ReadItems<int64_t>(reader, count, 1, out, [reader](int64_t* item) {
    uint8_t flag = 0;
    RETURN_IF_ERROR(ReadBool(reader, &flag));
    *item = flag;
    return absl::OkStatus();
  });
}

absl::Status ReadStrings(HeaderReader* reader, uint64_t count, GgufArray* out) {
  return ReadItems<std::string>(reader, count, sizeof(uint64_t), out,
                                [reader](std::string* item) { return reader->ReadString("string length", item); });
}

absl::Status ReadArray(HeaderReader* reader, GgufArray* out) {
  uint32_t type = 0;
  uint64_t count = 0;
  RETURN_IF_ERROR(reader->ReadNumber("array element type", &type));
  RETURN_IF_ERROR(reader->ReadNumber("array count", &count));
  out->element_type = static_cast<GgufValueType>(type);
  switch (out->element_type) {
    case GgufValueType::kU8:
      return ReadNumbers<uint8_t, int64_t>(reader, count, out);
    case GgufValueType::kI8:
      return ReadNumbers<int8_t, int64_t>(reader, count, out);
    case GgufValueType::kU16:
      return ReadNumbers<uint16_t, int64_t>(reader, count, out);
    case GgufValueType::kI16:
      return ReadNumbers<int16_t, int64_t>(reader, count, out);
    case GgufValueType::kU32:
      return ReadNumbers<uint32_t, int64_t>(reader, count, out);
    case GgufValueType::kI32:
      return ReadNumbers<int32_t, int64_t>(reader, count, out);
    case GgufValueType::kF32:
      return ReadNumbers<float, double>(reader, count, out);
    case GgufValueType::kBool:
      return ReadFlags(reader, count, out);
    case GgufValueType::kString:
      return ReadStrings(reader, count, out);
    case GgufValueType::kArray:
      return reader->Unsupported("array element type 9: arrays of arrays are not supported");
    case GgufValueType::kU64:
      return ReadNumbers<uint64_t, int64_t>(reader, count, out);
    case GgufValueType::kI64:
      return ReadNumbers<int64_t, int64_t>(reader, count, out);
    case GgufValueType::kF64:
      return ReadNumbers<double, double>(reader, count, out);
  }
  return reader->Damaged(absl::StrCat("array element type ", type, " is unknown, the last known is 12"));
}

}  // namespace

absl::Status ReadGgufValue(HeaderReader* reader, GgufValue* out) {
  uint32_t type = 0;
  RETURN_IF_ERROR(reader->ReadNumber("value type", &type));
  out->type = static_cast<GgufValueType>(type);
  switch (out->type) {
    case GgufValueType::kU8:
      return ReadScalar<uint8_t, uint64_t>(reader, out);
    case GgufValueType::kI8:
      return ReadScalar<int8_t, int64_t>(reader, out);
    case GgufValueType::kU16:
      return ReadScalar<uint16_t, uint64_t>(reader, out);
    case GgufValueType::kI16:
      return ReadScalar<int16_t, int64_t>(reader, out);
    case GgufValueType::kU32:
      return ReadScalar<uint32_t, uint64_t>(reader, out);
    case GgufValueType::kI32:
      return ReadScalar<int32_t, int64_t>(reader, out);
    case GgufValueType::kF32:
      return ReadScalar<float, double>(reader, out);
    case GgufValueType::kBool:
      return ReadFlag(reader, out);
    case GgufValueType::kString:
      return reader->ReadString("string length", &out->value.emplace<std::string>());
    case GgufValueType::kArray:
      return ReadArray(reader, &out->value.emplace<GgufArray>());
    case GgufValueType::kU64:
      return ReadScalar<uint64_t, uint64_t>(reader, out);
    case GgufValueType::kI64:
      return ReadScalar<int64_t, int64_t>(reader, out);
    case GgufValueType::kF64:
      return ReadScalar<double, double>(reader, out);
  }
  return reader->Damaged(absl::StrCat("value type ", type, " is unknown, the last known is 12"));
}

}  // namespace sluice
