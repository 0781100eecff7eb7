#include "src/text/merge_reader.h"

#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "src/text/byte_level.h"
#include "storage/gguf_text.h"

namespace sluice {
namespace {

constexpr char kTokensKey[] = "tokenizer.ggml.tokens";
constexpr char kMergesKey[] = "tokenizer.ggml.merges";
constexpr size_t kMaxMerges = size_t{1} << 28;

using Spellings = absl::flat_hash_map<absl::string_view, int32_t>;

// Merges name tokens as the file spells them. NORMAL tokens come first: an
// added token may be spelled like one.
Spellings IndexSpellings(absl::Span<const std::string> tokens, const Vocabulary& vocabulary) {
  Spellings spellings;
  spellings.reserve(tokens.size());
  for (bool normal : {true, false}) {
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      const TokenType type = vocabulary.TypeOf(id);
      if ((type == TokenType::kNormal) == normal && type != TokenType::kUnused) spellings.emplace(tokens[id], id);
    }
  }
  return spellings;
}

int32_t Find(const Spellings& spellings, absl::string_view spelled) {
  const auto found = spellings.find(spelled);
  return found == spellings.end() ? -1 : found->second;
}

bool OccursInUtf8(unsigned byte) { return byte != 0xC0 && byte != 0xC1 && byte < 0xF5; }

absl::Status ReadByteIds(const Spellings& spellings, std::array<int32_t, 256>* ids) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    (*ids)[byte] = Find(spellings, ByteLevelCharacter(static_cast<uint8_t>(byte)));
    if ((*ids)[byte] >= 0 || !OccursInUtf8(byte)) continue;
    return absl::DataLossError(
        absl::StrFormat("%s: no token for the byte 0x%02x; byte-level vocabularies hold all bytes", kTokensKey, byte));
  }
  return absl::OkStatus();
}

absl::Status BadMerge(size_t index, absl::string_view merge, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(kMergesKey, ": entry ", index, " ", QuotedName(merge), " ", why));
}

absl::Status AddMerge(size_t index, absl::string_view merge, const Spellings& spellings, MergeTable* merges) {
  // A token is never empty, so the space that divides is not the first byte.
  const size_t space = merge.find(' ', 1);
  if (space == absl::string_view::npos || space + 1 == merge.size()) {
    return BadMerge(index, merge, "must be two tokens with a space between");
  }
  const int32_t left = Find(spellings, merge.substr(0, space));
  const int32_t right = Find(spellings, merge.substr(space + 1));
  if (left < 0 || right < 0) return BadMerge(index, merge, "names a token that is not in the vocabulary");
  const int32_t result = Find(spellings, absl::StrCat(merge.substr(0, space), merge.substr(space + 1)));
  if (result < 0) return BadMerge(index, merge, "joins to a token that is not in the vocabulary");
  merges->Add(left, right, result);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BpeRules> ReadBpeRules(const GgufMetadata& metadata, const Vocabulary& vocabulary) {
  ASSIGN_OR_RETURN(const absl::Span<const std::string> tokens, metadata.GetStrings(kTokensKey));
  ASSIGN_OR_RETURN(const absl::Span<const std::string> lines, metadata.GetStrings(kMergesKey));
  if (lines.size() > kMaxMerges) {
    return absl::DataLossError(absl::StrCat(kMergesKey, ": ", lines.size(), " entries; the limit is ", kMaxMerges));
  }
  const Spellings spellings = IndexSpellings(tokens, vocabulary);
  BpeRules rules{{}, MergeTable(lines.size())};
  RETURN_IF_ERROR(ReadByteIds(spellings, &rules.byte_ids));
  for (size_t i = 0; i < lines.size(); ++i) RETURN_IF_ERROR(AddMerge(i, lines[i], spellings, &rules.merges));
  return rules;
}

}  // namespace sluice
