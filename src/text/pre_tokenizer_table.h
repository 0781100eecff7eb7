// The pre-tokenisers that are known: a new one is one row of the table.
#ifndef SLUICE_SRC_TEXT_PRE_TOKENIZER_TABLE_H_
#define SLUICE_SRC_TEXT_PRE_TOKENIZER_TABLE_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice {

struct PreTokenizerSpec {
  absl::string_view name;
  bool normalizes_to_nfc;
  absl::Span<const absl::string_view> patterns;  // PCRE2 syntax, applied one after the other
};

// In alphabetical order.
absl::Span<const PreTokenizerSpec> PreTokenizerSpecs();

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_PRE_TOKENIZER_TABLE_H_
