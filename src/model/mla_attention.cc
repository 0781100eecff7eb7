#include "src/model/mla_attention.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/status.h"
#include "compute/dequantize.h"
#include "compute/ops.h"
#include "src/model/formats.h"
#include "src/model/rope.h"

namespace sluice {
namespace {

constexpr int64_t kRowBlock = 128;
constexpr int64_t kKeyBlock = 64;
// Heads that share one widening of a key block.
constexpr int64_t kHeadsPerTask = 4;

int64_t MaxHeadsPerStep(const WeightLayout& layout, const ModelConfig& config) {
  int64_t heads = 1;
  for (const TrunkStep& step : layout.steps) {
    if (step.op == TrunkOp::kHeads) heads = std::max(heads, step.slices[0].rows / config.key_dims);
  }
  return heads;
}

FormatSet QueryFormats(const WeightLayout& layout, const KernelSet& kernels) {
  return FormatsOfSlice(layout, kernels, TrunkOp::kHeads, 0);
}

}  // namespace

MlaAttention::MlaAttention(Arena* arena, const ModelConfig& config, const WeightLayout& layout, Linear* linear,
                           int64_t max_rows)
    : config_(config),
      linear_(linear),
      fine_(arena, linear, max_rows, config.embedding, std::max(config.query_lora_rank, config.kv_width())),
      block_rows_(std::min(max_rows, kRowBlock)),
      max_heads_(MaxHeadsPerStep(layout, config)),
      query_stride_(max_heads_ * config.key_dims),
      query_latents_(arena, config.query_lora_rank > 0 ? max_rows : 0, config.query_lora_rank,
                     QueryFormats(layout, linear->kernels())) {
  const int64_t threads = linear->threads()->threads();
  kv_rows_ = arena->Take<float>(max_rows * config.kv_width());
  kv_pointers_ = arena->Take<float*>(max_rows);
  queries_ = arena->Take<float>(block_rows_ * query_stride_);
  query_pointers_ = arena->Take<float*>(block_rows_);
  absorbed_ = arena->Take<float>(block_rows_ * max_heads_ * config.kv_width());
  latents_ = arena->Take<float>(block_rows_ * max_heads_ * config.kv_lora_rank);
  maxima_ = arena->Take<float>(block_rows_ * max_heads_);
  sums_ = arena->Take<float>(block_rows_ * max_heads_);
  keys_ = arena->Take<float>(threads * kKeyBlock * config.kv_width());
  scores_ = arena->Take<float>(threads * kKeyBlock);
  const int64_t widest = std::max(config.kv_lora_rank, config.nope_dims());
  quantized_bytes_ = static_cast<int64_t>(AlignUp(widest, 256) * sizeof(float));
  quantized_ = arena->Take<uint8_t>(threads * block_rows_ * quantized_bytes_);
}

absl::Status MlaAttention::Run(int layer, const Sweep& sweep, const ResidentVectors& vectors, Trunk* trunk,
                               KvCache* cache, ActivationRows* normed, ActivationRows* out) {
  const InputRows in = normed->Quantize(linear_->kernels(), linear_->threads());
  InputRows queries_in = in;
  if (config_.query_lora_rank > 0) {
    RETURN_IF_ERROR(QueryLatents(layer, sweep, vectors, trunk, *normed, in));
    queries_in = query_latents_.Quantize(linear_->kernels(), linear_->threads());
  }
  RETURN_IF_ERROR(WriteKeys(layer, sweep, vectors, trunk, cache, *normed, in));
  do {
    RETURN_IF_ERROR(trunk->Next(TrunkOp::kHeads, layer));
    const int64_t head_begin = trunk->row_begin() / config_.key_dims;
    const int64_t heads = trunk->matrix(0).rows / config_.key_dims;
    for (int64_t row = 0; row < sweep.count(); row += block_rows_) {
      const int64_t rows = std::min(block_rows_, sweep.count() - row);
      Heads({layer, &sweep, cache, trunk, row, rows, head_begin, heads, out}, queries_in.Sub(row, rows));
    }
  } while (!trunk->last());
  out->Refill(sweep.count());
  return absl::OkStatus();
}

absl::Status MlaAttention::QueryLatents(int layer, const Sweep& sweep, const ResidentVectors& vectors, Trunk* trunk,
                                        const ActivationRows& normed, const InputRows& in) {
  query_latents_.Refill(sweep.count());
  do {
    RETURN_IF_ERROR(trunk->Next(TrunkOp::kQueryLatent, layer));
    fine_.Multiply(trunk->matrix(0), normed, in, query_latents_.rows(), trunk->row_begin());
  } while (!trunk->last());
  const float* norm = vectors.Find(layer, "attn_q_a_norm.weight");
  linear_->threads()->ParallelFor(sweep.count(), [&](int64_t r, int) {
    float* row = query_latents_.row(r);
    RmsNorm(row, norm, config_.query_lora_rank, config_.rms_epsilon, row);
  });
  return absl::OkStatus();
}

absl::Status MlaAttention::WriteKeys(int layer, const Sweep& sweep, const ResidentVectors& vectors, Trunk* trunk,
                                     KvCache* cache, const ActivationRows& normed, const InputRows& in) {
  const int64_t width = config_.kv_width(), latent = config_.kv_lora_rank;
  for (int64_t r = 0; r < sweep.count(); ++r) kv_pointers_[r] = kv_rows_ + r * width;
  do {
    RETURN_IF_ERROR(trunk->Next(TrunkOp::kKvLatent, layer));
    fine_.Multiply(trunk->matrix(0), normed, in, kv_pointers_, trunk->row_begin());
  } while (!trunk->last());
  const float* norm = vectors.Find(layer, "attn_kv_a_norm.weight");
  linear_->threads()->ParallelFor(sweep.count(), [&](int64_t r, int) {
    float* row = kv_rows_ + r * width;
    RmsNorm(row, norm, latent, config_.rms_epsilon, row);
    Rope::RotateNeighbours(sweep.angles + r * config_.rope_dims, config_.rope_dims, row + latent);
    cache->Write(layer, sweep.rows[r].sequence, sweep.rows[r].position, row);
  });
  return absl::OkStatus();
}

void MlaAttention::Heads(const Block& block, const InputRows& queries_in) {
  ThreadPool* threads = linear_->threads();
  for (int64_t r = 0; r < block.rows; ++r) query_pointers_[r] = queries_ + r * query_stride_;
  linear_->Multiply(block.trunk->matrix(0), queries_in, query_pointers_);
  threads->ParallelFor(block.heads, [&](int64_t head, int thread) {
    if (config_.split_kv_b) {
      Absorb(block, head, thread);
    } else {
      AbsorbTransposed(block, head, thread);
    }
    for (int64_t r = 0; r < block.rows; ++r) {
      float* rope = Absorbed(r, head) + config_.kv_lora_rank;
      std::memcpy(rope, Query(r, head) + config_.nope_dims(), config_.rope_dims * sizeof(float));
      Rope::RotateNeighbours(block.sweep->angles + (block.row_begin + r) * config_.rope_dims, config_.rope_dims, rope);
    }
  });
  threads->ParallelFor(CeilDiv(block.heads, kHeadsPerTask), [&](int64_t task, int thread) {
    Attend(block, task * kHeadsPerTask, std::min(block.heads, (task + 1) * kHeadsPerTask), thread);
  });
  threads->ParallelFor(block.heads, [&](int64_t head, int thread) { Values(block, head, thread); });
}

Matrix MlaAttention::HeadMatrix(const Block& block, size_t slice, int64_t head, int64_t first_row, int64_t rows) const {
  Matrix matrix = block.trunk->matrix(slice);
  const int64_t rows_per_head = matrix.rows / block.heads;
  matrix.data += (head * rows_per_head + first_row) * RowBytes(matrix.type, matrix.n_in);
  matrix.rows = rows;
  return matrix;
}

const void* const* MlaAttention::Quantized(TensorType type, const float* const* rows, int64_t count, int64_t width,
                                           int thread) {
  const ActivationFormat format = linear_->kernels().For(type).format;
  if (format == ActivationFormat::kF32) return reinterpret_cast<const void* const*>(rows);
  uint8_t* scratch = quantized_ + thread * block_rows_ * quantized_bytes_;
  const size_t row_bytes = ActivationRowBytes(format, width);
  SLUICE_DCHECK(static_cast<int64_t>(row_bytes + sizeof(void*)) <= quantized_bytes_);
  // The pointers stand behind the rows they name.
  const void** pointers = reinterpret_cast<const void**>(scratch + count * row_bytes);
  for (int64_t r = 0; r < count; ++r) {
    pointers[r] = scratch + r * row_bytes;
    linear_->kernels().quantize[static_cast<int>(format)](rows[r], width, scratch + r * row_bytes);
  }
  return pointers;
}

void MlaAttention::Absorb(const Block& block, int64_t head, int thread) {
  const Matrix keys = HeadMatrix(block, 1, head, 0, config_.kv_lora_rank);
  const float* queries[kRowBlock];
  float* outputs[kRowBlock];
  for (int64_t r = 0; r < block.rows; ++r) {
    queries[r] = Query(r, head);
    outputs[r] = Absorbed(r, head);
  }
  const void* const* activations = Quantized(keys.type, queries, block.rows, keys.n_in, thread);
  linear_->kernels().For(keys.type).matmul(
      {keys.type, keys.data, keys.n_in, keys.rows, activations, outputs, block.rows});
}

// The older dialect stores the keys the other way round: q' is a sum of rows,
// taken in ascending order with float weights.
void MlaAttention::AbsorbTransposed(const Block& block, int64_t head, int thread) {
  const int64_t latent = config_.kv_lora_rank;
  const Matrix keys = HeadMatrix(block, 1, head, 0, config_.nope_dims());
  float* key = keys_ + thread * kKeyBlock * config_.kv_width();
  for (int64_t r = 0; r < block.rows; ++r) std::fill_n(Absorbed(r, head), latent, 0.0f);
  for (int64_t d = 0; d < keys.rows; ++d) {
    DequantizeRow(keys.type, keys.data + d * RowBytes(keys.type, keys.n_in), latent, key);
    for (int64_t r = 0; r < block.rows; ++r) {
      linear_->kernels().ops.axpy(Query(r, head)[d], key, Absorbed(r, head), latent);
    }
  }
}

void MlaAttention::Attend(const Block& block, int64_t head_begin, int64_t head_end, int thread) {
  const int64_t row_end = block.row_begin + block.rows;
  for (const SequenceRun& run : block.sweep->runs) {
    const SequenceRun part{run.sequence, std::max(run.begin, block.row_begin), std::min(run.end, row_end)};
    if (part.begin < part.end) AttendRun(block, part, head_begin, head_end, thread);
  }
  for (int64_t r = 0; r < block.rows; ++r) {
    for (int64_t head = head_begin; head < head_end; ++head) {
      const float scale = 1.0f / sums_[r * max_heads_ + head];
      float* latent = Latent(r, head);
      for (int64_t i = 0; i < config_.kv_lora_rank; ++i) latent[i] *= scale;
    }
  }
}

void MlaAttention::AttendRun(const Block& block, const SequenceRun& run, int64_t head_begin, int64_t head_end,
                             int thread) {
  const absl::Span<const Row> rows = block.sweep->rows;
  const int64_t last_position = rows[run.end - 1].position;
  float* keys = keys_ + thread * kKeyBlock * config_.kv_width();
  for (int64_t key = 0; key <= last_position; key += kKeyBlock) {
    block.cache->Read(block.layer, run.sequence, key, std::min(kKeyBlock, last_position + 1 - key), keys);
    for (int64_t row = run.begin; row < run.end; ++row) {
      const int64_t visible = std::min(kKeyBlock, rows[row].position + 1 - key);
      if (visible <= 0) continue;
      for (int64_t head = head_begin; head < head_end; ++head) {
        AttendKeys(keys, visible, key == 0, scores_ + thread * kKeyBlock, row - block.row_begin, head);
      }
    }
  }
}

// Adds one block of keys to a row's running softmax.
void MlaAttention::AttendKeys(const float* keys, int64_t count, bool first, float* scores, int64_t row, int64_t head) {
  const int64_t width = config_.kv_width(), latent_width = config_.kv_lora_rank;
  const VectorOps& ops = linear_->kernels().ops;
  const float* query = Absorbed(row, head);
  float block_max = 0.0f;
  for (int64_t j = 0; j < count; ++j) {
    scores[j] = ops.dot(query, keys + j * width, width) * config_.score_scale;
    block_max = j == 0 ? scores[j] : std::max(block_max, scores[j]);
  }
  float* latent = Latent(row, head);
  float& maximum = maxima_[row * max_heads_ + head];
  float& sum = sums_[row * max_heads_ + head];
  if (first) {
    std::fill_n(latent, latent_width, 0.0f);
    maximum = block_max;
    sum = 0.0f;
  } else if (block_max > maximum) {
    const float correction = Exp(maximum - block_max);
    for (int64_t i = 0; i < latent_width; ++i) latent[i] *= correction;
    maximum = block_max;
    sum *= correction;
  }
  sum += ops.exp_sum(scores, count, maximum);
  for (int64_t j = 0; j < count; ++j) ops.axpy(scores[j], keys + j * width, latent, latent_width);
}

void MlaAttention::Values(const Block& block, int64_t head, int thread) {
  const size_t slice = config_.split_kv_b ? 2 : 1;
  const int64_t first_row = config_.split_kv_b ? 0 : config_.nope_dims();
  const Matrix values = HeadMatrix(block, slice, head, first_row, config_.value_dims);
  const float* latents[kRowBlock];
  float* outputs[kRowBlock];
  for (int64_t r = 0; r < block.rows; ++r) {
    latents[r] = Latent(r, head);
    outputs[r] = block.out->row(block.row_begin + r) + (block.head_begin + head) * config_.value_dims;
  }
  const void* const* activations = Quantized(values.type, latents, block.rows, values.n_in, thread);
  linear_->kernels()
      .For(values.type)
      .matmul({values.type, values.data, values.n_in, values.rows, activations, outputs, block.rows});
}

}  // namespace sluice
