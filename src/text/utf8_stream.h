// Turns token bytes into text as they come, never half a character.
//
// A token may end inside a character. The incomplete tail (three bytes at most)
// is held back until the next bytes complete it or prove that it never will
// be one; ill-formed parts come out as U+FFFD.
#ifndef SLUICE_SRC_TEXT_UTF8_STREAM_H_
#define SLUICE_SRC_TEXT_UTF8_STREAM_H_

#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

class Utf8Stream {
 public:
  // The text that has become certain with `bytes`; always well-formed UTF-8.
  std::string Append(absl::string_view bytes);

  // Ends the text: U+FFFD when a tail was held back, else nothing. The stream
  // is then as new.
  std::string Flush();

 private:
  std::string tail_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_UTF8_STREAM_H_
