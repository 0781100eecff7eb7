#include "src/text/utf8.h"

#include <doctest/doctest.h>

#include <string>

#include "src/text/utf8_stream.h"

namespace sluice {
namespace {

TEST_CASE("every scalar value survives encoding and decoding and is well formed") {
  int characters = 0;
  for (char32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point == 0xD800) code_point = 0xE000;
    std::string text;
    AppendCharacter(code_point, &text);
    const Utf8Unit unit = FirstUtf8Unit(text);
    if (unit.kind != Utf8Kind::kCharacter || unit.bytes != text.size() || DecodeCharacter(text) != code_point) {
      FAIL("code point " << static_cast<uint32_t>(code_point));
    }
    ++characters;
  }
  CHECK(characters == 0x110000 - 0x800);
}

TEST_CASE("each maximal ill-formed part becomes one replacement character") {
  const std::string r(kReplacementCharacter);
  CHECK(ReplaceIllFormed("plain \xC3\xA9") == "plain \xC3\xA9");
  CHECK(ReplaceIllFormed("a\x80z") == "a" + r + "z");
  CHECK(ReplaceIllFormed("\xC0\xAF") == r + r);                  // overlong
  CHECK(ReplaceIllFormed("\xE0\x80\xAF") == r + r + r);          // overlong
  CHECK(ReplaceIllFormed("\xED\xA0\x80") == r + r + r);          // surrogate
  CHECK(ReplaceIllFormed("\xF4\x90\x80\x80") == r + r + r + r);  // above U+10FFFF
  CHECK(ReplaceIllFormed("\xF0\x9F\x98z") == r + "z");           // cut off
  CHECK(ReplaceIllFormed("\xE2\x82\xE2\x82\xAC") == r + "\xE2\x82\xAC");
  CHECK(ReplaceIllFormed("0123456789abcdef\xFF") == "0123456789abcdef" + r);
  CHECK(ReplaceIllFormed("tail \xE2\x82") == "tail " + r);
}

TEST_CASE("what is replaced is well formed afterwards, whatever three bytes come") {
  for (int lead = 0x7F; lead < 0x100; ++lead) {
    for (int second = 0x7F; second < 0x100; ++second) {
      for (int third : {0x41, 0x80, 0x8F, 0x90, 0xBF, 0xC2, 0xFF}) {
        const std::string bytes = {static_cast<char>(lead), static_cast<char>(second), static_cast<char>(third)};
        const std::string replaced = ReplaceIllFormed(bytes);
        if (!IsWellFormedUtf8(replaced) || IsWellFormedUtf8(bytes) != (bytes == replaced)) FAIL(lead << " " << second);
      }
    }
  }
}

TEST_CASE("a stream holds back half a character until it is whole") {
  Utf8Stream stream;
  CHECK(stream.Append("a\xF0\x9F") == "a");
  CHECK(stream.Append("") == "");
  CHECK(stream.Append("\x98") == "");
  CHECK(stream.Append("\x80!") == "\xF0\x9F\x98\x80!");
  CHECK(stream.Flush() == "");
}

TEST_CASE("a stream replaces what can no longer become a character at once") {
  Utf8Stream stream;
  const std::string r(kReplacementCharacter);
  CHECK(stream.Append("\xF0\x9F") == "");
  CHECK(stream.Append("x") == r + "x");
  CHECK(stream.Append("\x80") == r);
  CHECK(stream.Append("\xED\xA0") == r + r);
  CHECK(stream.Append("\xE4") == "");
  CHECK(stream.Flush() == r);
  CHECK(stream.Flush() == "");
}

TEST_CASE("a stream fed byte by byte gives what replacing the whole gives") {
  const std::string bytes = "\xE4\xBD\xA0 \xF0\x9F\x91\xA8\xE2\x80\x8D\xFF\xC3\xE0\x80\xAF\xF4\x8F\xBF\xBFz\xF1\x80";
  for (size_t step = 1; step <= 5; ++step) {
    Utf8Stream stream;
    std::string text;
    for (size_t at = 0; at < bytes.size(); at += step) text += stream.Append(bytes.substr(at, step));
    text += stream.Flush();
    CHECK(text == ReplaceIllFormed(bytes));
  }
}

}  // namespace
}  // namespace sluice
