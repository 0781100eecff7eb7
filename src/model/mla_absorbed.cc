#include "src/model/mla_absorbed.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "compute/dequantize.h"
#include "compute/ops.h"
#include "src/model/rope.h"

namespace sluice {
namespace {

constexpr int64_t kRowBlock = 128;
// Keys whose scores are in memory at a time.
constexpr int64_t kSpanKeys = 12 * kKeyBlock;
// A task widens a piece of the cache that stays in the first-level cache:
// whole tiles of keys by a part of their width for scores,
constexpr int64_t kScoreKeys = 48;
constexpr int64_t kScoreDepth = 96;
// and a block of keys by a part of the latent for sums.
constexpr int64_t kSumWidth = 64;
static_assert(kSpanKeys % kScoreKeys == 0);
static_assert(kScoreDepth % KvRows::kBlock == 0 && kSumWidth % KvRows::kBlock == 0);

}  // namespace

MlaAbsorbed::MlaAbsorbed(Arena* arena, const ModelConfig& config, Linear* linear, int64_t max_rows, int64_t max_heads)
    : config_(config),
      linear_(linear),
      product_(arena, *linear, std::min(max_rows, kRowBlock), std::max(config.kv_lora_rank, config.nope_dims())),
      block_rows_(std::min(max_rows, kRowBlock)),
      max_heads_(max_heads),
      query_stride_(max_heads * config.key_dims) {
  queries_ = arena->Take<float>(block_rows_ * query_stride_);
  query_pointers_ = arena->Take<float*>(block_rows_);
  absorbed_ = arena->Take<float>(block_rows_ * max_heads_ * config.kv_width());
  latents_ = arena->Take<float>(block_rows_ * max_heads_ * config.kv_lora_rank);
  for (int thread = 0; thread < linear->threads()->threads(); ++thread) scratch_.push_back(TakeScratch(arena));
}

MlaAbsorbed::Scratch MlaAbsorbed::TakeScratch(Arena* arena) const {
  const int64_t columns = static_cast<int64_t>(AlignUp(max_heads_, kColumnVector));
  Scratch scratch;
  scratch.widened = arena->Take<float>(std::max(kScoreKeys * kScoreDepth, kKeyBlock * kSumWidth));
  scratch.key = arena->Take<float>(config_.kv_lora_rank);
  scratch.partial = arena->Take<float>(max_heads_ * kSumWidth);
  scratch.queries = arena->Take<float>(config_.kv_width() * columns);
  scratch.scores = arena->Take<float>(kSpanKeys * columns);
  scratch.corrections = arena->Take<float>(kSpanKeys / kKeyBlock * columns);
  scratch.maxima = arena->Take<float>(columns);
  scratch.sums = arena->Take<float>(columns);
  return scratch;
}

void MlaAbsorbed::Run(const MlaHeads& heads, const InputRows& queries_in) {
  for (int64_t begin = 0; begin < heads.rows; begin += block_rows_) {
    MlaHeads block = heads;
    block.row_begin += begin;
    block.rows = std::min(block_rows_, heads.rows - begin);
    RunBlock(block, queries_in.Sub(begin, block.rows));
  }
}

void MlaAbsorbed::RunBlock(const MlaHeads& heads, const InputRows& queries_in) {
  ThreadPool* threads = linear_->threads();
  for (int64_t r = 0; r < heads.rows; ++r) query_pointers_[r] = queries_ + r * query_stride_;
  linear_->Multiply(heads.QueriesOf(0, heads.heads, config_), queries_in, query_pointers_);
  threads->ParallelFor(heads.heads, [&](int64_t head, int thread) {
    if (config_.split_kv_b) {
      Absorb(heads, head, thread);
    } else {
      AbsorbTransposed(heads, head, thread);
    }
    RotateQueries(heads, head);
  });
  AttendRows(heads);
  threads->ParallelFor(heads.heads, [&](int64_t head, int thread) { Values(heads, head, thread); });
}

void MlaAbsorbed::Absorb(const MlaHeads& heads, int64_t head, int thread) {
  const float* queries[kRowBlock];
  float* outputs[kRowBlock];
  for (int64_t r = 0; r < heads.rows; ++r) {
    queries[r] = Query(r, head);
    outputs[r] = Absorbed(r, head);
  }
  product_.Multiply(heads.KeysOf(head, config_), queries, outputs, heads.rows, thread);
}

// The older dialect stores the keys the other way round: q' is a sum of rows,
// taken in ascending order with float weights.
void MlaAbsorbed::AbsorbTransposed(const MlaHeads& heads, int64_t head, int thread) {
  const int64_t latent = config_.kv_lora_rank;
  const Matrix keys = heads.KeysOf(head, config_);
  float* key = scratch_[static_cast<size_t>(thread)].key;
  for (int64_t r = 0; r < heads.rows; ++r) std::fill_n(Absorbed(r, head), latent, 0.0f);
  for (int64_t d = 0; d < keys.rows; ++d) {
    DequantizeRow(keys.type, keys.data + d * RowBytes(keys.type, keys.n_in), latent, key);
    for (int64_t r = 0; r < heads.rows; ++r) {
      linear_->kernels().ops.axpy(Query(r, head)[d], key, Absorbed(r, head), latent);
    }
  }
}

void MlaAbsorbed::RotateQueries(const MlaHeads& heads, int64_t head) {
  for (int64_t r = 0; r < heads.rows; ++r) {
    float* rope = Absorbed(r, head) + config_.kv_lora_rank;
    std::memcpy(rope, Query(r, head) + config_.nope_dims(), config_.rope_dims * sizeof(float));
    Rope::RotateNeighbours(heads.angles(r, config_.rope_dims), config_.rope_dims, rope);
  }
}

// Where there are vectors of heads enough each thread takes its own, and as many
// at a time as leaves none idle, for they share the widening of the keys.
// Otherwise threads share a row. Bits do not depend on it.
void MlaAbsorbed::AttendRows(const MlaHeads& heads) {
  ThreadPool* threads = linear_->threads();
  const int64_t vectors = heads.rows * CeilDiv(heads.heads, kColumnVector);
  if (vectors < threads->threads()) {
    for (int64_t row = 0; row < heads.rows; ++row) {
      Attend({heads, row, 0, heads.heads, scratch_[0], threads->threads(), 0, 0},
             [&](int64_t parts, PartBody body) { threads->ParallelFor(parts, body); });
    }
    return;
  }
  const int64_t per_task = std::min(heads.heads, vectors / threads->threads() * kColumnVector);
  const int64_t tasks_per_row = CeilDiv(heads.heads, per_task);
  threads->ParallelFor(heads.rows * tasks_per_row, [&](int64_t task, int thread) {
    const int64_t head = task % tasks_per_row * per_task, count = std::min(per_task, heads.heads - head);
    Attend({heads, task / tasks_per_row, head, count, scratch_[static_cast<size_t>(thread)], 1, 0, 0},
           [&](int64_t parts, PartBody body) {
             for (int64_t part = 0; part < parts; ++part) body(part, thread);
           });
  });
}

void MlaAbsorbed::Attend(Span span, PartLoop loop) {
  loop(CeilDiv(config_.kv_width(), kScoreDepth), [&](int64_t part, int) { TransposeQueries(span, part); });
  for (; span.begin < span.end(); span.begin += span.keys) {
    span.keys = std::min(kSpanKeys, span.end() - span.begin);
    loop(CeilDiv(span.keys, kScoreKeys), [&](int64_t part, int thread) { Score(span, part, thread); });
    loop(span.columns() / kColumnVector, [&](int64_t part, int) { Weigh(span, part); });
    loop(CeilDiv(config_.kv_lora_rank, kSumWidth), [&](int64_t part, int thread) { Sum(span, part, thread); });
  }
}

void MlaAbsorbed::TransposeQueries(const Span& span, int64_t part) {
  const int64_t width = config_.kv_width(), columns = span.columns();
  const int64_t end = std::min(width, (part + 1) * kScoreDepth);
  const float* queries = Absorbed(span.row, span.head);
  for (int64_t i = part * kScoreDepth; i < end; ++i) {
    float* out = span.scratch.queries + i * columns;
    for (int64_t h = 0; h < span.count; ++h) out[h] = queries[h * width + i] * config_.score_scale;
    std::fill(out + span.count, out + columns, 0.0f);
  }
}

void MlaAbsorbed::Score(const Span& span, int64_t part, int thread) {
  const int64_t width = config_.kv_width(), columns = span.columns(), first = part * kScoreKeys;
  const int64_t keys = std::min(kScoreKeys, span.keys - first);
  const int sequence = span.place().sequence;
  float* widened = scratch_[static_cast<size_t>(thread)].widened;
  float* scores = span.scratch.scores + first * columns;
  std::fill_n(scores, keys * columns, 0.0f);
  // What this thread will probably take next.
  const int64_t next = span.begin + first + span.sharers * kScoreKeys;
  for (int64_t i = 0; i < width; i += kScoreDepth) {
    const int64_t depth = std::min(kScoreDepth, width - i);
    span.heads.cache->FetchColumns(span.heads.layer, sequence, next, kScoreKeys, i, depth);
    span.heads.cache->ReadColumns(span.heads.layer, sequence, span.begin + first, keys, i, depth, widened);
    linear_->kernels().attention.add_product(
        {widened, depth, 1, span.scratch.queries + i * columns, columns, scores, columns, keys, depth, columns});
  }
}

void MlaAbsorbed::Weigh(const Span& span, int64_t part) {
  const int64_t columns = span.columns(), column = part * kColumnVector;
  float* scores = span.scratch.scores + column;
  float* corrections = span.scratch.corrections + column;
  float* maxima = span.scratch.maxima + column;
  float* sums = span.scratch.sums + column;
  if (span.begin == 0) {
    std::fill_n(maxima, kColumnVector, -std::numeric_limits<float>::infinity());
    std::fill_n(sums, kColumnVector, 0.0f);
  }
  for (int64_t key = 0; key < span.keys; key += kKeyBlock) {
    const int64_t seen = std::min(kKeyBlock, span.keys - key);
    linear_->kernels().attention.softmax_step({scores, columns, seen, kColumnVector, maxima, sums, corrections});
    scores += kKeyBlock * columns;
    corrections += columns;
  }
}

void MlaAbsorbed::Sum(const Span& span, int64_t part, int thread) {
  const int64_t first = part * kSumWidth, heads = span.count, columns = span.columns();
  const int64_t width = std::min(kSumWidth, config_.kv_lora_rank - first);
  const int sequence = span.place().sequence;
  float* widened = scratch_[static_cast<size_t>(thread)].widened;
  float* sums = scratch_[static_cast<size_t>(thread)].partial;
  for (int64_t h = 0; h < heads; ++h) {
    const float* before = Latent(span.row, span.head + h) + first;
    span.begin == 0 ? std::fill_n(sums + h * width, width, 0.0f) : std::copy_n(before, width, sums + h * width);
  }
  for (int64_t key = 0; key < span.keys; key += kKeyBlock) {
    const int64_t seen = std::min(kKeyBlock, span.keys - key);
    span.heads.cache->ReadColumns(span.heads.layer, sequence, span.begin + key, seen, first, width, widened);
    const float* corrections = span.scratch.corrections + key / kKeyBlock * columns;
    for (int64_t h = 0; h < heads; ++h) {
      if (corrections[h] != 1.0f) ScaleRow(corrections[h], sums + h * width, width);
    }
    linear_->kernels().attention.add_product(
        {span.scratch.scores + key * columns, 1, columns, widened, width, sums, width, heads, seen, width});
  }
  for (int64_t h = 0; h < heads; ++h) {
    if (span.begin + span.keys == span.end()) ScaleRow(1.0f / span.scratch.sums[h], sums + h * width, width);
    std::copy_n(sums + h * width, width, Latent(span.row, span.head + h) + first);
  }
}

void MlaAbsorbed::Values(const MlaHeads& heads, int64_t head, int thread) {
  const float* latents[kRowBlock];
  float* outputs[kRowBlock];
  for (int64_t r = 0; r < heads.rows; ++r) {
    latents[r] = Latent(r, head);
    outputs[r] = heads.out_row(r, head, config_.value_dims);
  }
  product_.Multiply(heads.ValuesOf(head, config_), latents, outputs, heads.rows, thread);
}

}  // namespace sluice
