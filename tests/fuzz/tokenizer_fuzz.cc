// Arbitrary bytes through every pre-tokenizer and back: what is encoded and
// decoded again is the input with its ill-formed parts replaced.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "src/text/nfc.h"
#include "src/text/pre_tokenizer_table.h"
#include "src/text/tokenizer.h"
#include "src/text/utf8.h"
#include "src/text/utf8_stream.h"
#include "tests/src/text/small_vocabulary.h"

namespace sluice {
namespace {

struct Subject {
  Tokenizer tokenizer;
  bool normalizes;
};

const std::vector<Subject>& Subjects() {
  static const auto* const subjects = [] {
    auto* made = new std::vector<Subject>();
    for (const PreTokenizerSpec& spec : PreTokenizerSpecs()) {
      made->push_back({*Tokenizer::Create(SmallVocabulary(spec.name)), spec.normalizes_to_nfc});
    }
    return made;
  }();
  return *subjects;
}

std::string Stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  Utf8Stream stream;
  std::string text;
  for (int32_t id : ids) {
    const std::string shown = stream.Append(tokenizer.TokenBytes(id));
    SLUICE_CHECK(IsWellFormedUtf8(shown));
    text += shown;
  }
  return text + stream.Flush();
}

void CheckRoundTrip(const Subject& subject, absl::string_view input, ParseSpecial mode) {
  const auto ids = subject.tokenizer.Encode(input, mode);
  SLUICE_CHECK(ids.ok());
  for (int32_t id : *ids) SLUICE_CHECK(id >= 0 && id < kSmallSize && id != kSmallPad);
  const std::string text = *subject.tokenizer.Decode(*ids);
  SLUICE_CHECK(Stream(subject.tokenizer, *ids) == text);
  const std::string replaced = ReplaceIllFormed(input);
  if (!subject.normalizes) SLUICE_CHECK(text == replaced);
  if (subject.normalizes && mode == ParseSpecial::kNone) SLUICE_CHECK(text == ToNfc(replaced));
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sluice::ParseSpecial;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  for (const sluice::Subject& subject : sluice::Subjects()) {
    for (ParseSpecial mode : {ParseSpecial::kAll, ParseSpecial::kUser, ParseSpecial::kNone}) {
      sluice::CheckRoundTrip(subject, input, mode);
    }
  }
  return 0;
}
