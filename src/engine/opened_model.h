// A model file made ready for an engine: header read, keys checked, tokenizer
// built, token lists freed, and the memory of all that accounted for.
#ifndef SLUICE_SRC_ENGINE_OPENED_MODEL_H_
#define SLUICE_SRC_ENGINE_OPENED_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "src/engine/planning.h"
#include "src/model/model_config.h"
#include "src/text/tokenizer.h"
#include "storage/model_files.h"

namespace sluice {

struct OpenedModel {
  // Adds a text that is encoded before the engine exists, and the tokens of it
  // that live as long as the engine.
  void CountText(uint64_t text_bytes, uint64_t tokens);

  ModelFiles files;  // without the token lists
  ModelConfig config;
  absl::optional<Tokenizer> tokenizer;
  uint64_t fingerprint = 0;  // src/engine/model_fingerprint.h
  CallerBytes caller;
};

// Without a tokenizer a model that has none, or an unknown one, can be opened.
absl::StatusOr<OpenedModel> OpenModel(const std::string& path, bool with_tokenizer);

// A prompt without a template: special tokens are recognised, BOS goes in front
// where the model wants one.
absl::StatusOr<std::vector<int32_t>> EncodeRawPrompt(const Tokenizer& tokenizer, absl::string_view text);

// What OpenModel(path, true) accounts for a model whose header is `files`.
CallerBytes CallerBytesOf(const ModelFiles& files);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_OPENED_MODEL_H_
