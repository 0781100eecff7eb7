// Cuts text into the pieces that byte-pair merging works on, one by one.
//
// A pre-tokeniser is a list of patterns. Each is applied to what the former
// left: its matches and the stretches between them become pieces, and the next
// pattern sees each piece as a text of its own. Nothing is dropped.
#ifndef SLUICE_SRC_TEXT_PRE_TOKENIZER_H_
#define SLUICE_SRC_TEXT_PRE_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct pcre2_real_code_8;

namespace sluice {

// Immutable once made: any number of threads may split at the same time.
class PreTokenizer {
 public:
  // `name` as `tokenizer.ggml.pre` says it. FailedPrecondition for unknown ones.
  static absl::StatusOr<PreTokenizer> Create(absl::string_view name);

  // The known names, for messages: "deepseek-coder, deepseek-llm, ...".
  static std::string KnownNames();

  // Whether text is brought to Unicode NFC before it is split. The metadata
  // does not say so: it belongs to the name.
  bool normalizes_to_nfc() const { return normalizes_to_nfc_; }

  // Calls `emit` for each piece of `text` (well-formed UTF-8) in order. Fails
  // only when the pattern engine runs out of its limits or memory.
  absl::Status Split(absl::string_view text, absl::FunctionRef<void(absl::string_view piece)> emit) const;

 private:
  struct CodeDeleter {
    void operator()(pcre2_real_code_8* code) const;
  };

  std::vector<std::unique_ptr<pcre2_real_code_8, CodeDeleter>> patterns_;
  bool normalizes_to_nfc_ = false;
};

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_PRE_TOKENIZER_H_
