// UTF-8: what is a character, what is ill-formed, what may still become one.
//
// Ill-formed input is never refused here: every maximal ill-formed part (the
// Unicode "maximal subpart" practice) stands for one U+FFFD. Overlong forms,
// surrogates and values above U+10FFFF are ill-formed.
#ifndef SLUICE_SRC_TEXT_UTF8_H_
#define SLUICE_SRC_TEXT_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

// U+FFFD in UTF-8.
inline constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

enum class Utf8Kind {
  kCharacter,   // one well-formed character
  kIllFormed,   // a maximal ill-formed part that no further byte can repair
  kIncomplete,  // the text ends inside what may become a character
};

struct Utf8Unit {
  Utf8Kind kind;
  size_t bytes;
};

// The unit that `text`, which is not empty, begins with.
Utf8Unit FirstUtf8Unit(absl::string_view text);

// Bytes at the front of `text` that are whole well-formed characters.
size_t WellFormedPrefixBytes(absl::string_view text);
inline bool IsWellFormedUtf8(absl::string_view text) { return WellFormedPrefixBytes(text) == text.size(); }

// `text` with U+FFFD for each ill-formed part and for an incomplete end.
std::string ReplaceIllFormed(absl::string_view text);

// The code point of one well-formed character.
char32_t DecodeCharacter(absl::string_view character);
// Of a Unicode scalar value.
void AppendCharacter(char32_t code_point, std::string* out);

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_UTF8_H_
