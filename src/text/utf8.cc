#include "src/text/utf8.h"

#include <cstdint>
#include <cstring>

namespace sluice {
namespace {

struct LeadByte {
  uint8_t length;  // of the character; 0 when no character starts so
  uint8_t second_min;
  uint8_t second_max;
};

// The second byte alone carries the rules against overlong forms, surrogates
// and values that are too large.
LeadByte Classify(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2 || lead > 0xF4) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead < 0xF0)
    return {3, static_cast<uint8_t>(lead == 0xE0 ? 0xA0 : 0x80), static_cast<uint8_t>(lead == 0xED ? 0x9F : 0xBF)};
  return {4, static_cast<uint8_t>(lead == 0xF0 ? 0x90 : 0x80), static_cast<uint8_t>(lead == 0xF4 ? 0x8F : 0xBF)};
}

size_t AsciiPrefixBytes(absl::string_view text) {
  size_t at = 0;
  for (uint64_t eight; at + 8 <= text.size(); at += 8) {
    std::memcpy(&eight, text.data() + at, 8);
    if ((eight & 0x8080808080808080u) != 0) break;
  }
  return at;
}

}  // namespace

Utf8Unit FirstUtf8Unit(absl::string_view text) {
  const LeadByte lead = Classify(static_cast<uint8_t>(text[0]));
  if (lead.length == 0) return {Utf8Kind::kIllFormed, 1};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Utf8Kind::kIncomplete, i};
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    const bool fits = i == 1 ? byte >= lead.second_min && byte <= lead.second_max : (byte & 0xC0) == 0x80;
    if (!fits) return {Utf8Kind::kIllFormed, i};
  }
  return {Utf8Kind::kCharacter, lead.length};
}

size_t WellFormedPrefixBytes(absl::string_view text) {
  size_t at = AsciiPrefixBytes(text);
  while (at < text.size()) {
    const Utf8Unit unit = FirstUtf8Unit(text.substr(at));
    if (unit.kind != Utf8Kind::kCharacter) break;
    at += unit.bytes;
  }
  return at;
}

std::string ReplaceIllFormed(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t good = WellFormedPrefixBytes(text);
    out.append(text.data(), good);
    text.remove_prefix(good);
    if (text.empty()) break;
    out.append(kReplacementCharacter.data(), kReplacementCharacter.size());
    text.remove_prefix(FirstUtf8Unit(text).bytes);
  }
  return out;
}

char32_t DecodeCharacter(absl::string_view character) {
  const uint8_t lead = static_cast<uint8_t>(character[0]);
  if (character.size() == 1) return lead;
  char32_t code_point = lead & (0x7Fu >> character.size());
  for (char byte : character.substr(1)) code_point = code_point << 6 | (static_cast<uint8_t>(byte) & 0x3Fu);
  return code_point;
}

void AppendCharacter(char32_t code_point, std::string* out) {
  if (code_point < 0x80) {
    out->push_back(static_cast<char>(code_point));
    return;
  }
  const int following = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  const uint32_t lead_mark = 0xFF00u >> (following + 1) & 0xFFu;
  out->push_back(static_cast<char>(lead_mark | code_point >> (6 * following)));
  for (int shift = 6 * (following - 1); shift >= 0; shift -= 6) {
    out->push_back(static_cast<char>(0x80u | (code_point >> shift & 0x3Fu)));
  }
}

}  // namespace sluice
