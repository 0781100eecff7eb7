#include "src/synth/skewed_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "compute/dequantize.h"

namespace sluice {
namespace {

constexpr int64_t kTopics = 16;
constexpr double kCommonShare = 0.125;
// Of the embedding, for a skew of 1 and at most.
constexpr double kTopicShare = 0.8;
constexpr double kMostTopicShare = 0.6;
// Standard deviations of logits.
constexpr double kRouterLogits = 1.5;
constexpr double kHeadLogits = 1.5;
// What a token of the present topic has ahead of the others, as a logit.
constexpr double kTopicLead = 3;
// How much of the embedding is left in a row, layers' additions considered.
constexpr double kLeft = 0.8;
constexpr int64_t kHintElements = 256;

int64_t SegmentOf(int64_t embedding) { return embedding % 256 == 0 ? 256 : 32; }

}  // namespace

SkewedRows::SkewedRows(const SynthModel& model, TensorType type)
    : seed_(model.seed),
      skew_(model.skew),
      embedding_(model.shape.embedding),
      experts_(model.shape.experts),
      top_k_(model.shape.top_k),
      segment_(SegmentOf(embedding_)),
      segment_bytes_(RowBytes(type, static_cast<uint64_t>(segment_))),
      embedding_blocks_(type, 1),
      head_blocks_(type, HeadGain() / std::sqrt(static_cast<double>(embedding_))) {
  if (skew_ == 0) return;
  const int64_t segments = embedding_ / segment_;
  const double share = std::min(kTopicShare * skew_, kMostTopicShare);
  common_ = std::max<int64_t>(1, std::llround(kCommonShare * static_cast<double>(segments)));
  topical_ = std::clamp<int64_t>(std::llround(share * static_cast<double>(segments)), 1, segments - common_ - 1);
  hinted_ = std::min(topical_, std::max<int64_t>(1, kHintElements / segment_));
  FindDirection(type);
}

// So that a topic's lead is the same whatever the embedding's length.
double SkewedRows::HeadGain() const {
  if (skew_ == 0) return kHeadLogits;
  return kTopicLead * std::sqrt(static_cast<double>(embedding_)) / (kLeft * kHintElements);
}

void SkewedRows::FindDirection(TensorType type) {
  std::vector<uint8_t> row(segment_bytes_ * static_cast<size_t>(embedding_ / segment_));
  FillEmbedding(0, absl::MakeSpan(row));
  direction_.resize(static_cast<size_t>(common_ * segment_));
  DequantizeRow(type, row.data(), common_ * segment_, direction_.data());
  const double length = std::sqrt(std::inner_product(direction_.begin(), direction_.end(), direction_.begin(), 0.0));
  for (float& part : direction_) part = static_cast<float>(part / length);
}

int64_t SkewedRows::TopicOf(int64_t token) const {
  return static_cast<int64_t>(StreamSeed(seed_, "topic of", static_cast<uint64_t>(token)) % kTopics);
}

void SkewedRows::Fill(const RandomBlocks& blocks, absl::string_view stream, uint64_t number, int64_t first,
                      int64_t count, absl::Span<uint8_t> row) const {
  if (count == 0) return;
  const size_t begin = static_cast<size_t>(first) * segment_bytes_;
  blocks.Fill(StreamSeed(seed_, stream, number), row.subspan(begin, static_cast<size_t>(count) * segment_bytes_));
}

void SkewedRows::FillEmbedding(int64_t token, absl::Span<uint8_t> row) const {
  const int64_t own = common_ + topical_, segments = embedding_ / segment_;
  const uint64_t topic = static_cast<uint64_t>(TopicOf(token));
  Fill(embedding_blocks_, "common", 0, 0, common_, row);
  Fill(embedding_blocks_, "hinted", topic, common_, hinted_, row);
  Fill(embedding_blocks_, "topic", topic, common_ + hinted_, topical_ - hinted_, row);
  Fill(embedding_blocks_, "token", static_cast<uint64_t>(token), own, segments - own, row);
}

// Where embedding and head agree the row's product with its topic is large.
void SkewedRows::FillHead(int64_t token, absl::Span<uint8_t> row) const {
  Fill(head_blocks_, "head", static_cast<uint64_t>(token), 0, embedding_ / segment_, row);
  Fill(head_blocks_, "hinted", static_cast<uint64_t>(TopicOf(token)), common_, hinted_, row);
}

std::vector<double> SkewedRows::PreferencesOf(int layer) const {
  std::vector<double> preferences(static_cast<size_t>(experts_), 0.0);
  if (skew_ == 0) return preferences;
  // The top k of logits with normal noise of this size are chosen about as often
  // as by exp(preference / scale): the tail of a maximum falls off so.
  const double noise = kRouterLogits * std::sqrt(1 - static_cast<double>(common_ * segment_) / embedding_);
  const double spread = std::max(std::log(static_cast<double>(experts_) / top_k_), 0.5);
  const double scale = noise / std::sqrt(2 * spread);
  for (size_t rank = 0; rank < preferences.size(); ++rank) {
    preferences[rank] = -skew_ * scale * std::log(static_cast<double>(rank + 1));
  }
  const double mean = std::accumulate(preferences.begin(), preferences.end(), 0.0) / static_cast<double>(experts_);
  for (double& preference : preferences) preference -= mean;
  RandomBits random(StreamSeed(seed_, "order", static_cast<uint64_t>(layer)));
  for (size_t i = preferences.size(); i > 1; --i) std::swap(preferences[i - 1], preferences[random.Next() % i]);
  return preferences;
}

void SkewedRows::FillRouter(int layer, int64_t expert, double preference, absl::Span<uint8_t> row) const {
  RandomBits random(StreamSeed(seed_, "router", static_cast<uint64_t>(layer * experts_ + expert)));
  const double size = kRouterLogits / std::sqrt(static_cast<double>(embedding_));
  // The product of a row with the common direction.
  const double along = kLeft * std::sqrt(static_cast<double>(direction_.size()));
  for (size_t i = 0; i < static_cast<size_t>(embedding_); ++i) {
    const double own = random.NextNormal() * size;
    const float weight = static_cast<float>(i < direction_.size() ? preference * direction_[i] / along : own);
    std::memcpy(row.data() + i * sizeof(weight), &weight, sizeof(weight));
  }
}

}  // namespace sluice
