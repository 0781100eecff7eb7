#include "src/text/pre_tokenizer_table.h"

namespace sluice {
namespace {

// The Unicode White_Space property, to stand inside a class. Written out
// because PCRE2's \s also takes U+180E.
#define WHITE_SPACE R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})"
#define SPACE "[" WHITE_SPACE "]"
#define NO_SPACE "[^" WHITE_SPACE "]"
// White space before a line end; white space but the last one before a word; any other.
#define SPACE_RUNS "|" SPACE R"(*[\r\n]+|)" SPACE "+(?!" NO_SPACE ")|" SPACE "+"

// The Han, kana and other syllables that the first DeepSeek tokenizers set apart.
#define EAST_ASIAN R"([\x{800}-\x{9fa5}\x{ac00}-\x{d7ff}]+)"

// Letters with case, as listed by deepseek-llm's publisher.
#define CASED_LETTERS                                                                                         \
  R"(A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af})"      \
  R"(\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1})"        \
  R"(\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5})"         \
  R"(\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a})" \
  R"(\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b})"  \
  R"(\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc})"  \
  R"(\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107})"  \
  R"(\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134})"   \
  R"(\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"   \
  R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787})"  \
  R"(\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a})" \
  R"(\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2})"        \
  R"(\x{118a0}-\x{118df}\x{1e900}-\x{1e943})"

constexpr absl::string_view kDeepSeekCoder[] = {
    R"([\r\n])", SPACE R"(?\p{L}+)", SPACE R"(?\p{P}+)", EAST_ASIAN, R"(\p{N})",
};

constexpr absl::string_view kDeepSeekLlm[] = {
    R"([\r\n])",
    SPACE "?[" CASED_LETTERS "]+",
    SPACE R"(?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)",
    // The published pattern is \s+$. The look-behind changes no match, but spares
    // a quadratic search where a long run of spaces does not end the piece.
    "(?<!" SPACE ")" SPACE "+$",
    EAST_ASIAN,
    R"(\p{N})",
};

constexpr absl::string_view kDeepSeekV3[] = {
    R"(\p{N}{1,3})",
    R"([\x{4e00}-\x{9fa5}\x{3040}-\x{30ff}]+)",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*)" SPACE_RUNS,
};

constexpr absl::string_view kGpt2[] = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^)" WHITE_SPACE R"(\p{L}\p{N}]+|)" SPACE "+(?!" NO_SPACE ")|" SPACE
    "+",
};

constexpr absl::string_view kQwen2[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^)" WHITE_SPACE
    R"(\p{L}\p{N}]+[\r\n]*)" SPACE_RUNS,
};

#undef WHITE_SPACE
#undef SPACE
#undef NO_SPACE
#undef SPACE_RUNS
#undef EAST_ASIAN
#undef CASED_LETTERS

constexpr PreTokenizerSpec kSpecs[] = {
    {"deepseek-coder", false, kDeepSeekCoder},
    {"deepseek-llm", false, kDeepSeekLlm},
    {"deepseek-v3", false, kDeepSeekV3},
    {"gpt-2", false, kGpt2},
    {"qwen2", true, kQwen2},
};

}  // namespace

absl::Span<const PreTokenizerSpec> PreTokenizerSpecs() { return kSpecs; }

}  // namespace sluice
