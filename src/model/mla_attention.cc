#include "src/model/mla_attention.h"

#include <algorithm>

#include "base/status.h"
#include "compute/ops.h"
#include "src/model/formats.h"
#include "src/model/rope.h"

namespace sluice {
namespace {

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
      expanded_(arena, config, linear, max_rows, MaxHeadsPerStep(layout, config)),
      absorbed_(arena, config, linear, max_rows, MaxHeadsPerStep(layout, config)),
      query_latents_(arena, config.query_lora_rank > 0 ? max_rows : 0, config.query_lora_rank,
                     QueryFormats(layout, linear->kernels())) {
  kv_rows_ = arena->Take<float>(max_rows * config.kv_width());
  kv_pointers_ = arena->Take<float*>(max_rows);
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
    Heads(layer, sweep, *cache, *trunk, queries_in, out);
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
    RmsNorm(linear_->kernels().ops, row, norm, config_.query_lora_rank, config_.rms_epsilon, row);
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
    RmsNorm(linear_->kernels().ops, row, norm, latent, config_.rms_epsilon, row);
    Rope::RotateNeighbours(sweep.angles + r * config_.rope_dims, config_.rope_dims, row + latent);
    cache->Write(layer, sweep.rows[r].sequence, sweep.rows[r].position, row);
  });
  return absl::OkStatus();
}

void MlaAttention::Heads(int layer, const Sweep& sweep, const KvCache& cache, const Trunk& trunk,
                         const InputRows& queries_in, ActivationRows* out) {
  MlaHeads heads{};
  heads.layer = layer;
  heads.sweep = &sweep;
  heads.cache = &cache;
  heads.queries = trunk.matrix(0);
  heads.keys = trunk.matrix(1);
  if (config_.split_kv_b) heads.values = trunk.matrix(2);
  heads.head_begin = trunk.row_begin() / config_.key_dims;
  heads.heads = trunk.matrix(0).rows / config_.key_dims;
  heads.out = out;
  for (size_t run = 0; run < sweep.runs.size();) {
    const bool generated = sweep.runs[run].generated;
    heads.row_begin = sweep.runs[run].begin;
    for (; run < sweep.runs.size() && sweep.runs[run].generated == generated; ++run) {
      heads.rows = sweep.runs[run].end - heads.row_begin;
    }
    const InputRows in = queries_in.Sub(heads.row_begin, heads.rows);
    generated ? absorbed_.Run(heads, in) : expanded_.Run(heads, in);
  }
}

}  // namespace sluice
