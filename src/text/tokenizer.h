// Text to token ids and back: byte-level BPE as GGUF metadata describes it.
//
// Owns flat copies of what it needs, about 4 MB for 129,000 tokens; the
// metadata may be freed after Create. Immutable: any number of threads may use
// one tokenizer. Ill-formed UTF-8 is never refused: each maximal ill-formed
// part is encoded as U+FFFD.
#ifndef SLUICE_SRC_TEXT_TOKENIZER_H_
#define SLUICE_SRC_TEXT_TOKENIZER_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "src/text/added_tokens.h"
#include "src/text/bpe_merger.h"
#include "src/text/merge_table.h"
#include "src/text/pre_tokenizer.h"
#include "src/text/vocabulary.h"
#include "storage/gguf.h"

namespace sluice {

// Which added tokens are recognised in a text that is encoded.
enum class ParseSpecial {
  kAll,   // control tokens and user-defined ones
  kUser,  // user-defined ones only
  kNone,
};

class Tokenizer {
 public:
  // Errors name the metadata key. FailedPrecondition for a tokenizer that is
  // sound but not known here, DataLoss for one that contradicts itself.
  static absl::StatusOr<Tokenizer> Create(const GgufMetadata& metadata);

  // Adds nothing in front or behind. Refuses texts above 1 GiB.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text, ParseSpecial mode) const;

  // The bytes of the tokens strung together, made text (U+FFFD for ill-formed
  // parts). InvalidArgument for an id outside the vocabulary.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids, bool show_special = true) const;

  int vocab_size() const { return vocabulary_.size(); }

  // What the token stands for; `id` is in [0, vocab_size()). Feed it to a
  // Utf8Stream to show text as it is generated.
  absl::string_view TokenBytes(int32_t id) const { return vocabulary_.BytesOf(id); }
  // Tokens that steer the model and are no part of its answer.
  bool IsSpecial(int32_t id) const;

  absl::optional<int32_t> bos_id() const { return bos_id_; }
  absl::optional<int32_t> eos_id() const { return eos_id_; }
  // Whether a raw prompt begins with bos_id(), which is then there. A rendered
  // chat template brings its own.
  bool add_bos() const { return add_bos_; }
  // End of sequence, of turn or of message.
  bool IsEndOfGeneration(int32_t id) const;

  size_t memory_bytes() const;

 private:
  Tokenizer(Vocabulary vocabulary, MergeTable merges, PreTokenizer pre_tokenizer);

  absl::Status ReadSpecialIds(const GgufMetadata& metadata);
  const AddedTokens* AddedTokensFor(ParseSpecial mode) const;
  // Of text between added tokens.
  absl::Status EncodeStretch(absl::string_view text, BpeMerger* merger, std::vector<int32_t>* out) const;

  Vocabulary vocabulary_;
  std::array<int32_t, 256> byte_ids_{};  // -1 for bytes that no UTF-8 text holds
  MergeTable merges_;
  PreTokenizer pre_tokenizer_;
  AddedTokens all_added_;
  AddedTokens user_added_;
  absl::optional<int32_t> bos_id_;
  absl::optional<int32_t> eos_id_;
  std::vector<int32_t> end_ids_;
  bool add_bos_ = false;
};

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_TOKENIZER_H_
