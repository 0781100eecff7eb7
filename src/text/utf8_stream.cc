#include "src/text/utf8_stream.h"

#include <algorithm>

#include "src/text/utf8.h"

namespace sluice {
namespace {

// Bytes at the end of `text` that may still become a character.
size_t IncompleteTailBytes(absl::string_view text) {
  const size_t longest = std::min<size_t>(3, text.size());
  for (size_t bytes = 1; bytes <= longest; ++bytes) {
    const absl::string_view tail = text.substr(text.size() - bytes);
    if ((static_cast<unsigned char>(tail[0]) & 0xC0) == 0x80) continue;
    return FirstUtf8Unit(tail).kind == Utf8Kind::kIncomplete ? bytes : 0;
  }
  return 0;
}

}  // namespace

std::string Utf8Stream::Append(absl::string_view bytes) {
  tail_.append(bytes.data(), bytes.size());
  const size_t certain = tail_.size() - IncompleteTailBytes(tail_);
  std::string text = ReplaceIllFormed(absl::string_view(tail_).substr(0, certain));
  tail_.erase(0, certain);
  return text;
}

std::string Utf8Stream::Flush() {
  std::string text = ReplaceIllFormed(tail_);
  tail_.clear();
  return text;
}

}  // namespace sluice
