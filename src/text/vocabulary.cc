#include "src/text/vocabulary.h"

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/check.h"
#include "base/status.h"
#include "src/text/byte_level.h"

namespace sluice {
namespace {

constexpr char kTokensKey[] = "tokenizer.ggml.tokens";
constexpr char kTypesKey[] = "tokenizer.ggml.token_type";
constexpr size_t kMaxTokens = size_t{1} << 28;
constexpr uint64_t kMaxTotalBytes = uint64_t{1} << 31;

absl::Status CheckTokens(absl::Span<const std::string> tokens) {
  if (tokens.empty() || tokens.size() > kMaxTokens) {
    return absl::DataLossError(absl::StrCat(kTokensKey, ": ", tokens.size(), " tokens; must be 1 to ", kMaxTokens));
  }
  uint64_t total = 0;
  for (const std::string& token : tokens) total += token.size();
  if (total <= kMaxTotalBytes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(kTokensKey, ": ", total, " bytes of text; the limit is ", kMaxTotalBytes));
}

absl::StatusOr<absl::Span<const int64_t>> ReadTypes(const GgufMetadata& metadata, size_t tokens) {
  if (!metadata.Has(kTypesKey)) return absl::Span<const int64_t>();
  ASSIGN_OR_RETURN(const absl::Span<const int64_t> types, metadata.GetInts(kTypesKey));
  if (types.size() != tokens) {
    return absl::DataLossError(
        absl::StrCat(kTypesKey, ": ", types.size(), " entries for ", tokens, " tokens; there must be one for each"));
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] >= 1 && types[i] <= 6) continue;
    return absl::DataLossError(
        absl::StrCat(kTypesKey, ": unknown type ", types[i], " of token ", i, "; must be 1 to 6"));
  }
  return types;
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::Create(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const absl::Span<const std::string> tokens, metadata.GetStrings(kTokensKey));
  RETURN_IF_ERROR(CheckTokens(tokens));
  ASSIGN_OR_RETURN(const absl::Span<const int64_t> types, ReadTypes(metadata, tokens.size()));
  Vocabulary vocabulary;
  vocabulary.offsets_.reserve(tokens.size() + 1);
  vocabulary.types_.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    vocabulary.Add(tokens[i], types.empty() ? TokenType::kNormal : static_cast<TokenType>(types[i]));
  }
  vocabulary.bytes_.shrink_to_fit();
  return vocabulary;
}

void Vocabulary::Add(absl::string_view spelled, TokenType type) {
  // A NORMAL token outside the byte-level alphabet stands for its own bytes.
  if (type != TokenType::kNormal || !AppendByteLevelBytes(spelled, &bytes_)) {
    bytes_.append(spelled.data(), spelled.size());
  }
  offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
  types_.push_back(type);
}

absl::string_view Vocabulary::BytesOf(int32_t id) const {
  SLUICE_CHECK(id >= 0 && id < size());
  return absl::string_view(bytes_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
}

TokenType Vocabulary::TypeOf(int32_t id) const {
  SLUICE_CHECK(id >= 0 && id < size());
  return types_[id];
}

size_t Vocabulary::memory_bytes() const {
  return bytes_.capacity() + offsets_.capacity() * sizeof(uint32_t) + types_.capacity() * sizeof(TokenType);
}

}  // namespace sluice
