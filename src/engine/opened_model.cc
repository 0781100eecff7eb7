#include "src/engine/opened_model.h"

#include <utility>

#include "base/status.h"
#include "src/engine/heap.h"
#include "src/engine/model_fingerprint.h"
#include "src/model/model_family.h"

namespace sluice {
namespace {

constexpr char kTokensKey[] = "tokenizer.ggml.tokens";
constexpr char kMergesKey[] = "tokenizer.ggml.merges";
// What a tokenizer holds: the text of a token with its place and type; two ids,
// the result and up to four slots of a hash table for a merge.
constexpr uint64_t kBytesPerToken = 8;
constexpr uint64_t kBytesPerMerge = 28;
// An entry of the hash table of spellings that lives while it is built.
constexpr uint64_t kBytesPerSpelling = 58;
// Of a text while it is encoded: itself, repaired and normalised, and up to a
// token for each byte, in memory that grows by doubling.
constexpr uint64_t kBytesPerTextByte = 16;

absl::Span<const std::string> ItemsOf(const GgufMetadata& metadata, absl::string_view key) {
  return metadata.GetStrings(key).value_or(absl::Span<const std::string>());
}

void FreeTokenLists(GgufMetadata* metadata) {
  for (const char* key : {kTokensKey, kMergesKey, "tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
    metadata->Erase(key);
  }
  ReturnFreeMemory();
}

}  // namespace

void OpenedModel::CountText(uint64_t text_bytes, uint64_t tokens) {
  caller.peak += text_bytes * kBytesPerTextByte;
  caller.held += tokens * sizeof(int32_t) * 2;
}

CallerBytes CallerBytesOf(const ModelFiles& files) {
  const absl::Span<const std::string> tokens = ItemsOf(files.metadata(), kTokensKey);
  CallerBytes bytes;
  bytes.held = tokens.size() * kBytesPerToken + ItemsOf(files.metadata(), kMergesKey).size() * kBytesPerMerge;
  for (const std::string& token : tokens) bytes.held += token.size();
  bytes.peak = HeaderBytes(files) + bytes.held + tokens.size() * kBytesPerSpelling;
  return bytes;
}

absl::StatusOr<std::vector<int32_t>> EncodeRawPrompt(const Tokenizer& tokenizer, absl::string_view text) {
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text, ParseSpecial::kAll));
  if (tokenizer.add_bos()) ids.insert(ids.begin(), *tokenizer.bos_id());
  return ids;
}

absl::StatusOr<OpenedModel> OpenModel(const std::string& path, bool with_tokenizer) {
  OpenedModel model;
  ASSIGN_OR_RETURN(model.files, ModelFiles::Open(path));
  ASSIGN_OR_RETURN(const ModelFamily* family, FamilyOf(model.files));
  ASSIGN_OR_RETURN(model.config, family->read_config(model.files));
  ASSIGN_OR_RETURN(model.fingerprint, ModelFingerprint(model.files));
  model.caller = CallerBytesOf(model.files);
  if (with_tokenizer) {
    ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::Create(model.files.metadata()));
  }
  FreeTokenLists(&model.files.mutable_metadata());
  return model;
}

}  // namespace sluice
