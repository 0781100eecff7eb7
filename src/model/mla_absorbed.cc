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
// Most heads that share one widening of a key block; the columns of a task's
// products, idle ones included, because ragged products are several times slower.
constexpr int64_t kColumns = 16;

}  // namespace

MlaAbsorbed::MlaAbsorbed(Arena* arena, const ModelConfig& config, Linear* linear, int64_t max_rows, int64_t max_heads)
    : config_(config),
      linear_(linear),
      product_(arena, *linear, std::min(max_rows, kRowBlock), std::max(config.kv_lora_rank, config.nope_dims())),
      block_rows_(std::min(max_rows, kRowBlock)),
      max_heads_(max_heads),
      query_stride_(max_heads * config.key_dims) {
  const int64_t threads = linear->threads()->threads();
  queries_ = arena->Take<float>(block_rows_ * query_stride_);
  query_pointers_ = arena->Take<float*>(block_rows_);
  absorbed_ = arena->Take<float>(block_rows_ * max_heads_ * config.kv_width());
  latents_ = arena->Take<float>(block_rows_ * max_heads_ * config.kv_lora_rank);
  keys_ = arena->Take<float>(threads * kKeyBlock * config.kv_width());
  transposed_ = arena->Take<float>(threads * config.kv_width() * kColumns);
  scores_ = arena->Take<float>(threads * kKeyBlock * kColumns);
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
  // Enough tasks for every thread even when there is one row; bits do not depend on it.
  const int64_t wanted = CeilDiv(int64_t{threads->threads()}, heads.rows);
  const int64_t heads_per_task = CeilDiv(heads.heads, std::max(wanted, CeilDiv(heads.heads, kColumns)));
  const int64_t tasks_per_row = CeilDiv(heads.heads, heads_per_task);
  threads->ParallelFor(heads.rows * tasks_per_row, [&](int64_t task, int thread) {
    const int64_t head = task % tasks_per_row * heads_per_task;
    Attend(heads, task / tasks_per_row, head, std::min(heads_per_task, heads.heads - head), thread);
  });
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
  float* key = keys_ + thread * kKeyBlock * config_.kv_width();
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

void MlaAbsorbed::TransposeQueries(int64_t row, int64_t head_begin, int64_t count, float* out) {
  const float* queries = Absorbed(row, head_begin);
  const int64_t width = config_.kv_width();
  for (int64_t i = 0; i < width; ++i, out += kColumns) {
    for (int64_t h = 0; h < count; ++h) out[h] = queries[h * width + i] * config_.score_scale;
    std::fill_n(out + count, kColumns - count, 0.0f);
  }
}

void MlaAbsorbed::Attend(const MlaHeads& heads, int64_t row, int64_t head_begin, int64_t count, int thread) {
  const int64_t width = config_.kv_width(), latent = config_.kv_lora_rank;
  const AttentionOps& ops = linear_->kernels().attention;
  float* keys = keys_ + thread * kKeyBlock * width;
  float* queries = transposed_ + thread * width * kColumns;
  float* scores = scores_ + thread * kKeyBlock * kColumns;
  float maxima[kColumns], sums[kColumns] = {}, corrections[kColumns];
  std::fill_n(maxima, kColumns, -std::numeric_limits<float>::infinity());
  TransposeQueries(row, head_begin, count, queries);
  for (int64_t h = 0; h < count; ++h) std::fill_n(Latent(row, head_begin + h), latent, 0.0f);
  const Row& place = heads.row(row);
  for (int64_t key = 0; key <= place.position; key += kKeyBlock) {
    const int64_t seen = std::min(kKeyBlock, place.position + 1 - key);
    heads.cache->Read(heads.layer, place.sequence, key, seen, keys);
    std::fill_n(scores, seen * kColumns, 0.0f);
    ops.add_product({keys, width, 1, queries, kColumns, scores, kColumns, seen, width, kColumns});
    ops.softmax_step({scores, kColumns, seen, kColumns, maxima, sums, corrections});
    for (int64_t h = 0; h < count; ++h) ScaleRow(corrections[h], Latent(row, head_begin + h), latent);
    ops.add_product({scores, 1, kColumns, keys, width, Latent(row, head_begin), latent, count, seen, latent});
  }
  for (int64_t h = 0; h < count; ++h) ScaleRow(1.0f / sums[h], Latent(row, head_begin + h), latent);
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
