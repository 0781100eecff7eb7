// Words for error messages about GGUF files.
#ifndef SLUICE_STORAGE_GGUF_TEXT_H_
#define SLUICE_STORAGE_GGUF_TEXT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/gguf.h"

namespace sluice {

// "u32", "string", "array"; "?" for a number that is no value type.
absl::string_view GgufValueTypeName(GgufValueType type);

// A name from a file in single quotes, fit for one line: bytes that do not print
// are escaped, and a long name is cut.
std::string QuotedName(absl::string_view name);

// The same code, with `subject` and a colon before the message.
absl::Status WithSubject(absl::string_view subject, const absl::Status& status);

}  // namespace sluice

#endif  // SLUICE_STORAGE_GGUF_TEXT_H_
