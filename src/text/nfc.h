// Unicode Normalization Form C.
//
// The tables are utf8proc's. Canonical ordering is done here, because the
// library orders marks by insertion, which takes hours on a megabyte of them.
#ifndef SLUICE_SRC_TEXT_NFC_H_
#define SLUICE_SRC_TEXT_NFC_H_

#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

// False means that `text` is in NFC already; true that it may not be. Quick.
bool MayChangeUnderNfc(absl::string_view text);

// `text` is well-formed UTF-8. Takes O(n log n).
std::string ToNfc(absl::string_view text);

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_NFC_H_
