#include "src/text/nfc.h"

#include <doctest/doctest.h>

#include <string>

#include "src/text/utf8.h"

namespace sluice {
namespace {

std::string Utf8(std::u32string_view code_points) {
  std::string text;
  for (char32_t code_point : code_points) AppendCharacter(code_point, &text);
  return text;
}

TEST_CASE("marks compose with their base in canonical order") {
  CHECK(ToNfc(Utf8(U"e\u0301")) == Utf8(U"\u00E9"));
  CHECK(ToNfc(Utf8(U"a\u0323\u0302")) == Utf8(U"\u1EAD"));
  CHECK(ToNfc(Utf8(U"a\u0302\u0323")) == Utf8(U"\u1EAD"));
  CHECK(ToNfc(Utf8(U"q\u0307\u0323")) == Utf8(U"q\u0323\u0307"));
}

TEST_CASE("singletons, excluded compositions and Hangul follow the standard") {
  CHECK(ToNfc(Utf8(U"\u212B")) == Utf8(U"\u00C5"));
  CHECK(ToNfc(Utf8(U"\u0958")) == Utf8(U"\u0915\u093C"));
  CHECK(ToNfc(Utf8(U"\u1112\u1161\u11AB")) == Utf8(U"\uD55C"));
  CHECK(ToNfc(Utf8(U"\uD55C\u11AB")) == Utf8(U"\uD55C\u11AB"));
}

TEST_CASE("the character before the Hangul finals is not lost behind a syllable") {
  CHECK(ToNfc(Utf8(U"\uAC38\u11A7")) == Utf8(U"\uAC38\u11A7"));
  CHECK(ToNfc(Utf8(U"\u1112\u1161\u11A7\u11A8")) == Utf8(U"\uD558\u11A7\u11A8"));
  CHECK(ToNfc(Utf8(U"\u11A7\u11A7")) == Utf8(U"\u11A7\u11A7"));
}

TEST_CASE("text without marks is left alone and known to be so") {
  CHECK_FALSE(MayChangeUnderNfc("plain caf\xC3\xA9"));
  CHECK(MayChangeUnderNfc(Utf8(U"e\u0301")));
  CHECK(ToNfc("") == "");
  const std::string with_nul("a\0b", 3);
  CHECK(ToNfc(with_nul) == with_nul);
}

TEST_CASE("a megabyte of marks in the worst order is sorted, not fought with") {
  std::string text = "a";
  for (int i = 0; i < 250'000; ++i) text += Utf8(U"\u0301\u0323");
  const std::string normal = ToNfc(text);
  REQUIRE(normal.size() == text.size());
  CHECK(normal.substr(0, 5) == Utf8(U"\u1EA1\u0323"));
  CHECK(normal.substr(normal.size() - 4) == Utf8(U"\u0301\u0301"));
}

}  // namespace
}  // namespace sluice
