#include "src/text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "src/text/utf8.h"

namespace sluice {
namespace {

// This character composes with nothing before it, but utf8proc 2.8 loses it
// behind a Hangul syllable: what it begins is composed by itself.
constexpr utf8proc_int32_t kBeforeHangulFinals = 0x11A7;

using CodePoints = std::vector<utf8proc_int32_t>;

int CombiningClass(utf8proc_int32_t code_point) {
  return static_cast<int>(utf8proc_get_property(code_point)->combining_class);
}

void AppendDecomposed(char32_t code_point, CodePoints* out) {
  // No canonical decomposition is longer than four.
  utf8proc_int32_t parts[16];
  const utf8proc_ssize_t count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point), parts, 16,
                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), nullptr);
  SLUICE_CHECK(count >= 0 && count <= 16);
  out->insert(out->end(), parts, parts + count);
}

CodePoints Decompose(absl::string_view text) {
  CodePoints code_points;
  code_points.reserve(text.size());
  while (!text.empty()) {
    const size_t bytes = FirstUtf8Unit(text).bytes;
    AppendDecomposed(DecodeCharacter(text.substr(0, bytes)), &code_points);
    text.remove_prefix(bytes);
  }
  return code_points;
}

// Sorts each run of combining marks by class, equal ones in their order.
void OrderMarks(CodePoints* code_points) {
  const auto is_mark = [](utf8proc_int32_t c) { return CombiningClass(c) != 0; };
  const auto by_class = [](utf8proc_int32_t a, utf8proc_int32_t b) { return CombiningClass(a) < CombiningClass(b); };
  auto begin = code_points->begin();
  while (true) {
    begin = std::find_if(begin, code_points->end(), is_mark);
    if (begin == code_points->end()) return;
    const auto end = std::find_if_not(begin, code_points->end(), is_mark);
    std::stable_sort(begin, end, by_class);
    begin = end;
  }
}

// Composes [begin, end), ordered, and appends it.
void AppendComposed(utf8proc_int32_t* begin, utf8proc_int32_t* end, std::string* out) {
  const utf8proc_ssize_t count =
      utf8proc_normalize_utf32(begin, end - begin, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  SLUICE_CHECK(count >= 0);
  for (utf8proc_ssize_t i = 0; i < count; ++i) AppendCharacter(static_cast<char32_t>(begin[i]), out);
}

}  // namespace

bool MayChangeUnderNfc(absl::string_view text) {
  // 0xCC leads U+0300, the first character that is not its own NFC everywhere.
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xCC; });
}

std::string ToNfc(absl::string_view text) {
  CodePoints code_points = Decompose(text);
  OrderMarks(&code_points);
  std::string out;
  out.reserve(text.size());
  utf8proc_int32_t* begin = code_points.data();
  utf8proc_int32_t* const end = begin + code_points.size();
  while (begin != end) {
    utf8proc_int32_t* const next = std::find(begin + 1, end, kBeforeHangulFinals);
    AppendComposed(begin, next, &out);
    begin = next;
  }
  return out;
}

}  // namespace sluice
