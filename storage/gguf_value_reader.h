// Reads one value of a GGUF key, scalar or array.
#ifndef SLUICE_STORAGE_GGUF_VALUE_READER_H_
#define SLUICE_STORAGE_GGUF_VALUE_READER_H_

#include "absl/status/status.h"
#include "storage/gguf.h"
#include "storage/header_reader.h"

namespace sluice {

// Type number and value, from the reader's position. Refuses unknown types, a
// bool other than 0 and 1, and arrays of arrays (no model has one).
absl::Status ReadGgufValue(HeaderReader* reader, GgufValue* out);

}  // namespace sluice

#endif  // SLUICE_STORAGE_GGUF_VALUE_READER_H_
