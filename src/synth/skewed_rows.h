// Routing that is uneven and persistent, by way of embeddings, router and head.
//
// The rows of the embedding are cut into segments. Some are the same for all
// tokens: along them the router prefers some experts to others, by Zipf's law
// with exponent `skew` and another order in each layer. Some are shared by the
// tokens of a topic, and the head prefers tokens of the topic it is in: experts
// that suit a topic stay in use. The rest are the token's own. Layers add little
// to what the embedding says (SynthTensor::gain), so this holds throughout.
// With a skew of 0 all is the token's own and every expert equally likely.
#ifndef SLUICE_SRC_SYNTH_SKEWED_ROWS_H_
#define SLUICE_SRC_SYNTH_SKEWED_ROWS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "src/synth/random_blocks.h"
#include "src/synth/synth_model.h"

namespace sluice {

class SkewedRows {
 public:
  // `type` is that of embedding and head.
  SkewedRows(const SynthModel& model, TensorType type);

  // Each fills one whole row. Pure; any thread.
  void FillEmbedding(int64_t token, absl::Span<uint8_t> row) const;
  void FillHead(int64_t token, absl::Span<uint8_t> row) const;
  // float32 weights; `preference` is PreferencesOf(layer)[expert].
  void FillRouter(int layer, int64_t expert, double preference, absl::Span<uint8_t> row) const;

  // What each expert of a layer has ahead of the others, as a logit.
  std::vector<double> PreferencesOf(int layer) const;

 private:
  int64_t TopicOf(int64_t token) const;
  double HeadGain() const;
  // Fills `count` segments from `first` on, as one stream.
  void Fill(const RandomBlocks& blocks, absl::string_view stream, uint64_t number, int64_t first, int64_t count,
            absl::Span<uint8_t> row) const;
  void FindDirection(TensorType type);

  const uint64_t seed_;
  const double skew_;
  const int64_t embedding_;
  const int64_t experts_;
  const int64_t top_k_;
  const int64_t segment_;  // elements
  const uint64_t segment_bytes_;
  int64_t common_ = 0;  // segments, at the row's begin
  int64_t topical_ = 0;
  int64_t hinted_ = 0;  // of the topical ones, those that the head knows
  RandomBlocks embedding_blocks_;
  RandomBlocks head_blocks_;
  std::vector<float> direction_;  // of the common segments, of length 1
};

}  // namespace sluice

#endif  // SLUICE_SRC_SYNTH_SKEWED_ROWS_H_
