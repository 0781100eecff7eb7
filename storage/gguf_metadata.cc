// GgufArray and GgufMetadata of storage/gguf.h.
#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "storage/gguf.h"
#include "storage/gguf_text.h"

namespace sluice {
namespace {

absl::Status Missing(absl::string_view key) {
  return absl::NotFoundError(absl::StrCat("key ", QuotedName(key), " is missing"));
}

// "u32", or "array of u32".
std::string TypeOf(const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value.value)) {
    return absl::StrCat("array of ", GgufValueTypeName(array->element_type));
  }
  return std::string(GgufValueTypeName(value.type));
}

// The value as a message shows it; arrays by their length.
struct ValuePrinter {
  std::string operator()(uint64_t value) const { return absl::StrCat(value); }
  std::string operator()(int64_t value) const { return absl::StrCat(value); }
  std::string operator()(double value) const { return absl::StrCat(value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::string& value) const { return QuotedName(value); }
  std::string operator()(const GgufArray& value) const { return absl::StrCat(value.size(), " items"); }
};

absl::Status Unfit(absl::string_view key, const GgufValue& value, absl::string_view wanted) {
  return absl::FailedPreconditionError(absl::StrCat("key ", QuotedName(key), " is ",
                                                    std::visit(ValuePrinter(), value.value), " (", TypeOf(value),
                                                    "), must be ", wanted));
}

absl::StatusOr<const GgufValue*> Require(const GgufMetadata& metadata, absl::string_view key) {
  const GgufValue* value = metadata.Find(key);
  if (value == nullptr) return Missing(key);
  return value;
}

// The items of an array value when they are held as `Item`, else null.
template <typename Item>
const std::vector<Item>* ItemsOf(const GgufValue& value) {
  const auto* array = std::get_if<GgufArray>(&value.value);
  return array == nullptr ? nullptr : std::get_if<std::vector<Item>>(&array->items);
}

template <typename T>
absl::StatusOr<T> OrFallback(absl::StatusOr<T> value, T fallback) {
  if (absl::IsNotFound(value.status())) return fallback;
  return value;
}

}  // namespace

size_t GgufArray::size() const {
  return std::visit([](const auto& held) { return held.size(); }, items);
}

const GgufValue* GgufMetadata::Find(absl::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

absl::StatusOr<uint64_t> GgufMetadata::GetUint(absl::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* number = std::get_if<uint64_t>(&value->value)) return *number;
  const auto* number = std::get_if<int64_t>(&value->value);
  if (number == nullptr || *number < 0) return Unfit(key, *value, "an integer of 0 or more");
  return static_cast<uint64_t>(*number);
}

absl::StatusOr<double> GgufMetadata::GetFloat(absl::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* number = std::get_if<double>(&value->value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(&value->value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<int64_t>(&value->value)) return static_cast<double>(*number);
  return Unfit(key, *value, "a number");
}

absl::StatusOr<bool> GgufMetadata::GetBool(absl::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* flag = std::get_if<bool>(&value->value)) return *flag;
  const absl::StatusOr<uint64_t> number = GetUint(key);
  if (!number.ok() || *number > 1) return Unfit(key, *value, "a bool, or an integer of 0 or 1");
  return *number == 1;
}

absl::StatusOr<std::string> GgufMetadata::GetString(absl::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* text = std::get_if<std::string>(&value->value)) return *text;
  return Unfit(key, *value, "a string");
}

absl::StatusOr<absl::Span<const std::string>> GgufMetadata::GetStrings(absl::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* items = ItemsOf<std::string>(*value)) return absl::MakeConstSpan(*items);
  return Unfit(key, *value, "an array of strings");
}

absl::StatusOr<absl::Span<const int64_t>> GgufMetadata::GetInts(absl::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  const auto* items = ItemsOf<int64_t>(*value);
  if (items == nullptr) return Unfit(key, *value, "an array of integers");
  const bool is_u64 = std::get<GgufArray>(value->value).element_type == GgufValueType::kU64;
  const auto wrapped =
      std::find_if(items->begin(), items->end(), [is_u64](int64_t item) { return is_u64 && item < 0; });
  if (wrapped == items->end()) return absl::MakeConstSpan(*items);
  return absl::FailedPreconditionError(absl::StrCat("key ", QuotedName(key), ": item ", wrapped - items->begin(),
                                                    " is ", static_cast<uint64_t>(*wrapped), ", must be at most ",
                                                    std::numeric_limits<int64_t>::max()));
}

absl::StatusOr<absl::Span<const double>> GgufMetadata::GetFloats(absl::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Require(*this, key));
  if (const auto* items = ItemsOf<double>(*value)) return absl::MakeConstSpan(*items);
  return Unfit(key, *value, "an array of floats");
}

absl::StatusOr<uint64_t> GgufMetadata::GetUintOr(absl::string_view key, uint64_t fallback) const {
  return OrFallback(GetUint(key), fallback);
}

absl::StatusOr<double> GgufMetadata::GetFloatOr(absl::string_view key, double fallback) const {
  return OrFallback(GetFloat(key), fallback);
}

absl::StatusOr<bool> GgufMetadata::GetBoolOr(absl::string_view key, bool fallback) const {
  return OrFallback(GetBool(key), fallback);
}

absl::StatusOr<std::string> GgufMetadata::GetStringOr(absl::string_view key, absl::string_view fallback) const {
  return OrFallback(GetString(key), std::string(fallback));
}

bool GgufMetadata::Insert(std::string key, GgufValue value) {
  if (!index_.emplace(key, entries_.size()).second) return false;
  entries_.emplace_back(std::move(key), std::move(value));
  return true;
}

void GgufMetadata::Erase(absl::string_view key) {
  const auto found = index_.find(key);
  if (found == index_.end()) return;
  const size_t gone = found->second;
  index_.erase(found);
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(gone));
  for (auto& entry : index_) {
    if (entry.second > gone) --entry.second;
  }
}

}  // namespace sluice
