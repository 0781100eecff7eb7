#include "src/text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "src/text/merge_reader.h"
#include "src/text/nfc.h"
#include "src/text/utf8.h"
#include "storage/gguf_text.h"

namespace sluice {
namespace {

constexpr char kModelKey[] = "tokenizer.ggml.model";
constexpr char kPreKey[] = "tokenizer.ggml.pre";
constexpr char kAddBosKey[] = "tokenizer.ggml.add_bos_token";
constexpr char kBosKey[] = "tokenizer.ggml.bos_token_id";
constexpr char kEosKey[] = "tokenizer.ggml.eos_token_id";
constexpr size_t kMaxTextBytes = size_t{1} << 30;

absl::Status CheckModel(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::string model, metadata.GetString(kModelKey));
  if (model == "gpt2") return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(kModelKey, ": unknown tokenizer model ", QuotedName(model),
                                                    "; only gpt2 (byte-level BPE) is known"));
}

// Nothing when the key is absent.
absl::StatusOr<absl::optional<int32_t>> ReadTokenId(const GgufMetadata& metadata, absl::string_view key,
                                                    int32_t vocab_size) {
  if (!metadata.Has(key)) return absl::optional<int32_t>();
  ASSIGN_OR_RETURN(const uint64_t id, metadata.GetUint(key));
  if (id < static_cast<uint64_t>(vocab_size)) return absl::optional<int32_t>(static_cast<int32_t>(id));
  return absl::DataLossError(absl::StrCat(key, ": token ", id, " is not in the vocabulary of ", vocab_size));
}

std::vector<int32_t> IdsOfTypes(const Vocabulary& vocabulary, std::initializer_list<TokenType> types) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (std::find(types.begin(), types.end(), vocabulary.TypeOf(id)) != types.end()) ids.push_back(id);
  }
  ids.shrink_to_fit();
  return ids;
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary, MergeTable merges, PreTokenizer pre_tokenizer)
    : vocabulary_(std::move(vocabulary)),
      merges_(std::move(merges)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      all_added_(vocabulary_,
                 IdsOfTypes(vocabulary_, {TokenType::kControl, TokenType::kUserDefined, TokenType::kUnknown})),
      user_added_(vocabulary_, IdsOfTypes(vocabulary_, {TokenType::kUserDefined})) {}

absl::StatusOr<Tokenizer> Tokenizer::Create(const GgufMetadata& metadata) {
  RETURN_IF_ERROR(CheckModel(metadata));
  ASSIGN_OR_RETURN(const std::string pre, metadata.GetString(kPreKey));
  ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::Create(pre));
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Create(metadata));
  ASSIGN_OR_RETURN(BpeRules rules, ReadBpeRules(metadata, vocabulary));
  Tokenizer tokenizer(std::move(vocabulary), std::move(rules.merges), std::move(pre_tokenizer));
  tokenizer.byte_ids_ = rules.byte_ids;
  RETURN_IF_ERROR(tokenizer.ReadSpecialIds(metadata));
  return tokenizer;
}

absl::Status Tokenizer::ReadSpecialIds(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(bos_id_, ReadTokenId(metadata, kBosKey, vocab_size()));
  ASSIGN_OR_RETURN(eos_id_, ReadTokenId(metadata, kEosKey, vocab_size()));
  for (const char* key : {kEosKey, "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    ASSIGN_OR_RETURN(const absl::optional<int32_t> id, ReadTokenId(metadata, key, vocab_size()));
    if (id.has_value()) end_ids_.push_back(*id);
  }
  ASSIGN_OR_RETURN(add_bos_, metadata.GetBoolOr(kAddBosKey, false));
  if (!add_bos_ || bos_id_.has_value()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(kAddBosKey, " is true but ", kBosKey, " is missing"));
}

const AddedTokens* Tokenizer::AddedTokensFor(ParseSpecial mode) const {
  switch (mode) {
    case ParseSpecial::kAll:
      return &all_added_;
    case ParseSpecial::kUser:
      return &user_added_;
    case ParseSpecial::kNone:
      return nullptr;
  }
  return nullptr;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(absl::string_view text, ParseSpecial mode) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a text of ", text.size(),
                                                   " bytes is too long to encode; the limit is ", kMaxTextBytes,
                                                   " bytes; give it in parts"));
  }
  std::string repaired;
  if (!IsWellFormedUtf8(text)) text = repaired = ReplaceIllFormed(text);
  const AddedTokens* added = AddedTokensFor(mode);
  BpeMerger merger(&merges_);
  std::vector<int32_t> ids;
  size_t begin = 0;
  while (begin < text.size()) {
    absl::optional<AddedTokens::Found> found;
    if (added != nullptr) found = added->FindNext(vocabulary_, text, begin);
    const size_t end = found.has_value() ? found->begin : text.size();
    RETURN_IF_ERROR(EncodeStretch(text.substr(begin, end - begin), &merger, &ids));
    if (!found.has_value()) break;
    ids.push_back(found->id);
    begin = found->begin + found->bytes;
  }
  return ids;
}

absl::Status Tokenizer::EncodeStretch(absl::string_view text, BpeMerger* merger, std::vector<int32_t>* out) const {
  if (text.empty()) return absl::OkStatus();
  std::string normalized;
  if (pre_tokenizer_.normalizes_to_nfc() && MayChangeUnderNfc(text)) text = normalized = ToNfc(text);
  std::vector<int32_t> symbols;
  return pre_tokenizer_.Split(text, [&](absl::string_view piece) {
    symbols.clear();
    for (char byte : piece) symbols.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
    merger->Merge(absl::MakeSpan(symbols), out);
  });
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids, bool show_special) const {
  std::string bytes;
  for (int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, " is not in the vocabulary: must be 0 to ", vocab_size() - 1));
    }
    if (!show_special && IsSpecial(id)) continue;
    const absl::string_view token = vocabulary_.BytesOf(id);
    bytes.append(token.data(), token.size());
  }
  return IsWellFormedUtf8(bytes) ? bytes : ReplaceIllFormed(bytes);
}

bool Tokenizer::IsSpecial(int32_t id) const {
  const TokenType type = vocabulary_.TypeOf(id);
  return type == TokenType::kControl || type == TokenType::kUnknown || type == TokenType::kUnused;
}

bool Tokenizer::IsEndOfGeneration(int32_t id) const {
  return std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end();
}

size_t Tokenizer::memory_bytes() const {
  return sizeof(*this) + vocabulary_.memory_bytes() + merges_.memory_bytes() + all_added_.memory_bytes() +
         user_added_.memory_bytes();
}

}  // namespace sluice
