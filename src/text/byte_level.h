// The byte-level alphabet: one printable character for each of the 256 bytes,
// in which vocabularies of byte-level BPE spell their tokens.
#ifndef SLUICE_SRC_TEXT_BYTE_LEVEL_H_
#define SLUICE_SRC_TEXT_BYTE_LEVEL_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

// The character that stands for `byte`, in UTF-8.
std::string ByteLevelCharacter(uint8_t byte);

// Appends the bytes that `spelled` stands for. False, with nothing appended,
// when a character of it is not of the alphabet.
bool AppendByteLevelBytes(absl::string_view spelled, std::string* out);

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_BYTE_LEVEL_H_
