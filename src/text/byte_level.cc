#include "src/text/byte_level.h"

#include <array>

#include "src/text/utf8.h"

namespace sluice {
namespace {

// The 68 bytes without a printable character of their own take these in order.
constexpr char32_t kFirstSubstitute = 0x100;
constexpr size_t kAlphabetEnd = kFirstSubstitute + 68;

constexpr bool StandsForItself(unsigned byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
}

struct Alphabet {
  std::array<uint16_t, 256> character_of_byte{};
  std::array<int16_t, kAlphabetEnd> byte_of_character{};
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.byte_of_character) byte = -1;
  uint16_t substitute = kFirstSubstitute;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const uint16_t character = StandsForItself(byte) ? static_cast<uint16_t>(byte) : substitute++;
    alphabet.character_of_byte[byte] = character;
    alphabet.byte_of_character[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

std::string ByteLevelCharacter(uint8_t byte) {
  std::string character;
  AppendCharacter(kAlphabet.character_of_byte[byte], &character);
  return character;
}

bool AppendByteLevelBytes(absl::string_view spelled, std::string* out) {
  const size_t start = out->size();
  while (!spelled.empty()) {
    const Utf8Unit unit = FirstUtf8Unit(spelled);
    const char32_t character =
        unit.kind == Utf8Kind::kCharacter ? DecodeCharacter(spelled.substr(0, unit.bytes)) : kAlphabetEnd;
    if (character >= kAlphabetEnd || kAlphabet.byte_of_character[character] < 0) {
      out->resize(start);
      return false;
    }
    out->push_back(static_cast<char>(kAlphabet.byte_of_character[character]));
    spelled.remove_prefix(unit.bytes);
  }
  return true;
}

}  // namespace sluice
