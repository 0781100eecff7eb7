#include "src/model/mla_expanded.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "compute/dequantize.h"
#include "compute/ops.h"
#include "src/model/rope.h"

namespace sluice {
namespace {

// Rows that pass over an expanded block together: with 64 keys their scores
// are 16 KB and stay in the first-level cache.
constexpr int64_t kRowTile = 64;
// Products of whole vectors are several times faster than ragged ones.
constexpr int64_t kColumnVector = 16;
// Fewer make short products of the queries, more only cost memory.
constexpr int64_t kMinGroupHeads = 4;

}  // namespace

MlaExpanded::MlaExpanded(Arena* arena, const ModelConfig& config, Linear* linear, int64_t max_rows, int64_t max_heads)
    : config_(config),
      linear_(linear),
      product_(arena, *linear, kKeyBlock, config.kv_lora_rank),
      max_rows_(static_cast<int64_t>(AlignUp(max_rows, kRowTile))) {
  const int64_t threads = linear->threads()->threads();
  group_heads_ = std::min(max_heads, std::max(kMinGroupHeads, threads));
  queries_ = arena->Take<float>(max_rows * group_heads_ * config.key_dims);
  query_pointers_ = arena->Take<float*>(max_rows);
  for (int64_t thread = 0; thread < threads; ++thread) scratch_.push_back(TakeScratch(arena));
}

MlaExpanded::Scratch MlaExpanded::TakeScratch(Arena* arena) const {
  Scratch scratch;
  scratch.expansion = arena->Take<float>(config_.kv_lora_rank * config_.nope_dims());
  scratch.latents = arena->Take<float>(kKeyBlock * config_.kv_width());
  scratch.keys = arena->Take<float>(kKeyBlock * config_.key_dims);
  scratch.values = arena->Take<float>(kKeyBlock * config_.value_dims);
  scratch.scores = arena->Take<float>(kKeyBlock * kRowTile);
  scratch.queries = arena->Take<float>(max_rows_ * config_.key_dims);
  scratch.outputs = arena->Take<float>(max_rows_ * config_.value_dims);
  scratch.maxima = arena->Take<float>(max_rows_);
  scratch.sums = arena->Take<float>(max_rows_);
  scratch.corrections = arena->Take<float>(kRowTile);
  return scratch;
}

void MlaExpanded::Run(const MlaHeads& heads, const InputRows& queries_in) {
  for (int64_t r = 0; r < heads.rows; ++r) query_pointers_[r] = queries_ + r * group_heads_ * config_.key_dims;
  for (int64_t head = 0; head < heads.heads; head += group_heads_) {
    const int64_t count = std::min(group_heads_, heads.heads - head);
    linear_->Multiply(heads.QueriesOf(head, count, config_), queries_in, query_pointers_);
    linear_->threads()->ParallelFor(count, [&](int64_t query, int thread) {
      RunHead({&heads, head + query, query, thread, scratch_[static_cast<size_t>(thread)]});
    });
  }
}

void MlaExpanded::RunHead(const Task& task) {
  const MlaHeads& heads = *task.heads;
  DequantizeExpansion(task);
  const int64_t row_end = heads.row_begin + heads.rows;
  for (const SequenceRun& run : heads.sweep->runs) {
    if (run.begin >= heads.row_begin && run.end <= row_end) AttendRun(task, run);
  }
}

void MlaExpanded::DequantizeExpansion(const Task& task) {
  const int64_t latent = config_.kv_lora_rank, nope = config_.nope_dims();
  const Matrix matrix = task.heads->KeysOf(task.head, config_);
  const size_t row_bytes = RowBytes(matrix.type, matrix.n_in);
  float* out = task.scratch.expansion;
  if (config_.split_kv_b) {
    for (int64_t i = 0; i < latent; ++i) DequantizeRow(matrix.type, matrix.data + i * row_bytes, nope, out + i * nope);
    return;
  }
  float* row = task.scratch.latents;
  for (int64_t d = 0; d < nope; ++d) {
    DequantizeRow(matrix.type, matrix.data + d * row_bytes, latent, row);
    for (int64_t i = 0; i < latent; ++i) out[i * nope + d] = row[i];
  }
}

void MlaExpanded::AttendRun(const Task& task, const SequenceRun& run) {
  const MlaHeads& heads = *task.heads;
  const int64_t first_row = run.begin - heads.row_begin, rows = run.end - run.begin;
  const int64_t first_position = heads.row(first_row).position;
  const int64_t last_position = first_position + rows - 1;
  BeginRun(task, first_row, rows);
  for (int64_t key = 0; key <= last_position; key += kKeyBlock) {
    const int64_t count = std::min(kKeyBlock, last_position + 1 - key);
    heads.cache->Read(heads.layer, run.sequence, key, count, task.scratch.latents);
    ExpandKeys(task, count);
    ExpandValues(task, count);
    // From the tile that holds the first row to see the block. Rows before it in
    // that tile see none of its keys, which changes nothing of theirs.
    const int64_t first_tile = std::max<int64_t>(0, key - first_position) / kRowTile * kRowTile;
    for (int64_t row = first_tile; row < rows; row += kRowTile) {
      AttendTile(task, row, std::min(kRowTile, rows - row), first_position + row, key);
    }
  }
  EndRun(task, first_row, rows);
}

void MlaExpanded::BeginRun(const Task& task, int64_t first_row, int64_t rows) {
  const Scratch& scratch = task.scratch;
  std::fill_n(scratch.maxima, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(scratch.sums, rows, 0.0f);
  std::fill_n(scratch.outputs, rows * config_.value_dims, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    float* query = query_pointers_[first_row + r] + task.query * config_.key_dims;
    Rope::RotateNeighbours(task.heads->angles(first_row + r, config_.rope_dims), config_.rope_dims,
                           query + config_.nope_dims());
    float* column = scratch.queries + r / kRowTile * kRowTile * config_.key_dims + r % kRowTile;
    for (int64_t i = 0; i < config_.key_dims; ++i) column[i * kRowTile] = query[i] * config_.score_scale;
  }
}

void MlaExpanded::EndRun(const Task& task, int64_t first_row, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = task.scratch.outputs + r * config_.value_dims;
    float* out = task.heads->out_row(first_row + r, task.head, config_.value_dims);
    const float inverse = 1.0f / task.scratch.sums[r];
    for (int64_t i = 0; i < config_.value_dims; ++i) out[i] = in[i] * inverse;
  }
}

void MlaExpanded::ExpandKeys(const Task& task, int64_t count) {
  const int64_t nope = config_.nope_dims(), width = config_.kv_width(), latent = config_.kv_lora_rank;
  const Scratch& scratch = task.scratch;
  for (int64_t j = 0; j < count; ++j) {
    float* key = scratch.keys + j * config_.key_dims;
    std::fill_n(key, nope, 0.0f);
    std::memcpy(key + nope, scratch.latents + j * width + latent, config_.rope_dims * sizeof(float));
  }
  linear_->kernels().attention.add_product(
      {scratch.latents, width, 1, scratch.expansion, nope, scratch.keys, config_.key_dims, count, latent, nope});
}

void MlaExpanded::ExpandValues(const Task& task, int64_t count) {
  const float* latents[kKeyBlock];
  float* values[kKeyBlock];
  for (int64_t j = 0; j < count; ++j) {
    latents[j] = task.scratch.latents + j * config_.kv_width();
    values[j] = task.scratch.values + j * config_.value_dims;
  }
  product_.Multiply(task.heads->ValuesOf(task.head, config_), latents, values, count, task.thread);
}

void MlaExpanded::AttendTile(const Task& task, int64_t row, int64_t rows, int64_t position, int64_t key) {
  const Scratch& scratch = task.scratch;
  const AttentionOps& ops = linear_->kernels().attention;
  const int64_t keys = std::min(kKeyBlock, position + rows - key);
  // Whole vectors of columns: those past the tile hold what comes, and nobody reads them.
  const int64_t columns = static_cast<int64_t>(AlignUp(rows, kColumnVector));
  std::fill_n(scratch.scores, keys * kRowTile, 0.0f);
  ops.add_product({scratch.keys, config_.key_dims, 1, scratch.queries + row * config_.key_dims, kRowTile,
                   scratch.scores, kRowTile, keys, config_.key_dims, columns});
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = std::max<int64_t>(0, position + r + 1 - key); j < keys; ++j) {
      scratch.scores[j * kRowTile + r] = -std::numeric_limits<float>::infinity();
    }
  }
  ops.softmax_step(
      {scratch.scores, kRowTile, keys, rows, scratch.maxima + row, scratch.sums + row, scratch.corrections});
  float* out = scratch.outputs + row * config_.value_dims;
  for (int64_t r = 0; r < rows; ++r) ScaleRow(scratch.corrections[r], out + r * config_.value_dims, config_.value_dims);
  ops.add_product({scratch.scores, 1, kRowTile, scratch.values, config_.value_dims, out, config_.value_dims, rows, keys,
                   config_.value_dims});
}

}  // namespace sluice
