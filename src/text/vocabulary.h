// The tokens of a model: the bytes and the type of each id.
//
// One flat block of bytes, because it stays in memory for the whole run. Copies
// what it needs from the metadata, which may be freed afterwards.
#ifndef SLUICE_SRC_TEXT_VOCABULARY_H_
#define SLUICE_SRC_TEXT_VOCABULARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/gguf.h"

namespace sluice {

// Numbers as in `tokenizer.ggml.token_type`.
enum class TokenType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

class Vocabulary {
 public:
  // Reads `tokenizer.ggml.tokens` and `tokenizer.ggml.token_type` (absent: all
  // NORMAL). Errors name the key.
  static absl::StatusOr<Vocabulary> Create(const GgufMetadata& metadata);

  int32_t size() const { return static_cast<int32_t>(types_.size()); }

  // What the token stands for in a text; `id` is in [0, size()). A NORMAL token
  // may end inside a character.
  absl::string_view BytesOf(int32_t id) const;
  TokenType TypeOf(int32_t id) const;

  size_t memory_bytes() const;

 private:
  void Add(absl::string_view spelled, TokenType type);

  std::string bytes_;
  std::vector<uint32_t> offsets_{0};  // size() + 1 of them
  std::vector<TokenType> types_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_TEXT_VOCABULARY_H_
