// A byte-level vocabulary made by hand, for tests without reference data.
#ifndef SLUICE_TESTS_SRC_TEXT_SMALL_VOCABULARY_H_
#define SLUICE_TESTS_SRC_TEXT_SMALL_VOCABULARY_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "src/text/byte_level.h"
#include "storage/gguf.h"

namespace sluice {

// Ids: the bytes are 0 to 255, then these.
enum SmallVocabularyId : int32_t {
  kSmallTh = 256,
  kSmallThe,
  kSmallSpaceThe,
  kSmallAa,
  kSmallAaaa,
  kSmallEAcute,
  kSmallBos,
  kSmallEos,
  kSmallTurn,
  kSmallThink,
  kSmallThinkMore,
  kSmallPad,
  kSmallSize,
};

inline GgufValue StringValue(std::string value) { return {GgufValueType::kString, std::move(value)}; }
inline GgufValue UintValue(uint64_t value) { return {GgufValueType::kU32, value}; }
inline GgufValue BoolValue(bool value) { return {GgufValueType::kBool, value}; }
inline GgufValue StringsValue(std::vector<std::string> items) {
  return {GgufValueType::kArray, GgufArray{GgufValueType::kString, std::move(items)}};
}
inline GgufValue IntsValue(std::vector<int64_t> items) {
  return {GgufValueType::kArray, GgufArray{GgufValueType::kI32, std::move(items)}};
}

inline std::vector<std::string> SmallVocabularyTokens() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(ByteLevelCharacter(static_cast<uint8_t>(byte)));
  const char* const more[] = {"th",    "the",   "Ġthe",  "aa",      "aaaa",       "Ã©",
                              "<bos>", "<eos>", "<eot>", "<think>", "<think>er>", "[PAD0]"};
  tokens.insert(tokens.end(), std::begin(more), std::end(more));
  return tokens;
}

inline std::vector<int64_t> SmallVocabularyTypes() {
  std::vector<int64_t> types(kSmallSize, 1);
  for (int id : {kSmallBos, kSmallEos, kSmallTurn}) types[id] = 3;
  for (int id : {kSmallThink, kSmallThinkMore}) types[id] = 4;
  types[kSmallPad] = 5;
  return types;
}

// Keys as in a model file, without a chat template.
inline GgufMetadata SmallVocabulary(absl::string_view pre) {
  GgufMetadata metadata;
  metadata.Insert("tokenizer.ggml.model", StringValue("gpt2"));
  metadata.Insert("tokenizer.ggml.pre", StringValue(std::string(pre)));
  metadata.Insert("tokenizer.ggml.tokens", StringsValue(SmallVocabularyTokens()));
  metadata.Insert("tokenizer.ggml.token_type", IntsValue(SmallVocabularyTypes()));
  metadata.Insert("tokenizer.ggml.merges", StringsValue({"t h", "th e", "Ġ the", "a a", "aa aa", "Ã ©"}));
  metadata.Insert("tokenizer.ggml.bos_token_id", UintValue(kSmallBos));
  metadata.Insert("tokenizer.ggml.eos_token_id", UintValue(kSmallEos));
  metadata.Insert("tokenizer.ggml.eot_token_id", UintValue(kSmallTurn));
  metadata.Insert("tokenizer.ggml.add_bos_token", BoolValue(true));
  return metadata;
}

}  // namespace sluice

#endif  // SLUICE_TESTS_SRC_TEXT_SMALL_VOCABULARY_H_
