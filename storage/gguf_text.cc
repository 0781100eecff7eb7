#include "storage/gguf_text.h"

#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

constexpr absl::string_view kTypeNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                            "bool", "string", "array", "u64", "i64", "f64"};
constexpr size_t kMaxQuotedBytes = 80;

}  // namespace

absl::string_view GgufValueTypeName(GgufValueType type) {
  const auto number = static_cast<uint32_t>(type);
  return number < std::size(kTypeNames) ? kTypeNames[number] : "?";
}

std::string QuotedName(absl::string_view name) {
  const absl::string_view cut = name.size() > kMaxQuotedBytes ? "..." : "";
  return absl::StrCat("'", absl::CHexEscape(name.substr(0, kMaxQuotedBytes)), cut, "'");
}

absl::Status WithSubject(absl::string_view subject, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(subject, ": ", status.message()));
}

}  // namespace sluice
