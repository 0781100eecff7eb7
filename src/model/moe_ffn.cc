#include "src/model/moe_ffn.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "src/model/formats.h"

namespace sluice {
namespace {

constexpr int64_t kRowBlock = 128;
// Up to here contributions wait in a buffer: 7 MB for DeepSeek-R1.
constexpr int64_t kBufferedRows = 32;

FormatSet DownFormats(const WeightLayout& layout, const KernelSet& kernels) {
  FormatSet formats;
  for (const ExpertShape& shape : layout.expert_shapes) formats.Add(kernels.For(shape.down).format);
  return formats;
}

}  // namespace

MoeFfn::MoeFfn(Arena* arena, const ModelConfig& config, const WeightLayout& layout, Linear* linear, int64_t max_rows)
    : config_(config),
      layout_(layout),
      linear_(linear),
      router_(config.routing),
      routing_(arena, config.routing, max_rows),
      hidden_(arena, std::min(max_rows, kRowBlock), config.expert_ffn, DownFormats(layout, linear->kernels())) {
  const int64_t block = std::min(max_rows, kRowBlock), embedding = config.embedding;
  logits_ = arena->Take<float>(max_rows * config.routing.experts);
  logit_rows_ = arena->Take<float*>(max_rows);
  router_scratch_ = arena->Take<float>(linear->threads()->threads() * router_.scratch_floats());
  block_out_ = arena->Take<float>(block * embedding);
  block_out_rows_ = arena->Take<float*>(block);
  for (const void**& pointers : gathered_) pointers = arena->Take<const void*>(block);
  contributions_ = arena->Take<float>(std::min(max_rows, kBufferedRows) * config.routing.top_k * embedding);
}

absl::Status MoeFfn::Route(int layer, const ResidentVectors& vectors, Trunk* trunk, const InputRows& in) {
  const int64_t experts = config_.routing.experts;
  for (int64_t r = 0; r < in.count; ++r) logit_rows_[r] = logits_ + r * experts;
  do {
    RETURN_IF_ERROR(trunk->Next(TrunkOp::kRouter, layer));
    linear_->MultiplyWith(FloatKernelSet(), trunk->matrix(0), in, logit_rows_, trunk->row_begin());
  } while (!trunk->last());
  const float* bias = vectors.Find(layer, "exp_probs_b.bias");
  linear_->threads()->ParallelFor(in.count, [&](int64_t r, int thread) {
    float* scratch = router_scratch_ + thread * router_.scratch_floats();
    router_.Choose(logit_rows_[r], bias, scratch, routing_.choices(r));
  });
  routing_.Index(in.count);
  return absl::OkStatus();
}

Delivery MoeFfn::DeliveryFor(int64_t rows) { return rows <= kBufferedRows ? Delivery::kArrival : Delivery::kAscending; }

absl::Status MoeFfn::Apply(int layer, ExpertPool* pool, const InputRows& in, float* const* out) {
  const bool buffered = DeliveryFor(in.count) == Delivery::kArrival;
  const ExpertShape& shape = layout_.expert_shapes[layer - config_.dense_layers];
  for (;;) {
    ASSIGN_OR_RETURN(const absl::optional<Lease> lease, pool->NextReady());
    if (!lease.has_value()) break;
    ApplyExpert(shape, *lease, in, buffered, out);
  }
  if (buffered) SumBuffered(in.count, out);
  return absl::OkStatus();
}

void MoeFfn::Interleave(const Lease& lease, absl::Span<Matrix* const> matrices) {
  const bool before = lease.rearranged();
  for (size_t i = 0; i < matrices.size(); ++i) {
    uint8_t* const data = lease.mutable_slice(i);
    if (data == nullptr || !linear_->GainsByInterleaving(*matrices[i])) continue;
    if (!before) linear_->Interleave(*matrices[i], data);
    matrices[i]->interleaved = true;
    lease.set_rearranged();
  }
}

void MoeFfn::ApplyExpert(const ExpertShape& shape, const Lease& lease, const InputRows& in, bool buffered,
                         float* const* out) {
  const int64_t embedding = config_.embedding, ffn = config_.expert_ffn;
  Matrix gate{shape.gate, lease.slice(0), embedding, ffn};
  Matrix up{shape.up, lease.slice(1), embedding, ffn};
  Matrix down{shape.down, lease.slice(2), ffn, embedding};
  const absl::Span<const RoutedRow> rows = routing_.rows_of(lease.expert());
  SLUICE_DCHECK(!rows.empty());
  Interleave(lease, {&gate, &up, &down});
  // Blocks of equal size: a small one at the end would read and decode the weights
  // for a few rows.
  const size_t blocks = CeilDiv(rows.size(), static_cast<size_t>(kRowBlock));
  const size_t block = CeilDiv(rows.size(), blocks);
  for (size_t begin = 0; begin < rows.size(); begin += block) {
    ApplyBlock(gate, up, down, rows.subspan(begin, block), in, buffered, out);
  }
}

InputRows MoeFfn::Gather(absl::Span<const RoutedRow> rows, const InputRows& in) {
  InputRows gathered;
  gathered.count = static_cast<int64_t>(rows.size());
  for (int f = 0; f < kActivationFormats; ++f) {
    if (in.rows[f] == nullptr) continue;
    for (size_t i = 0; i < rows.size(); ++i) gathered_[f][i] = in.rows[f][rows[i].row];
    gathered.rows[f] = gathered_[f];
  }
  return gathered;
}

void MoeFfn::ApplyBlock(const Matrix& gate, const Matrix& up, const Matrix& down, absl::Span<const RoutedRow> rows,
                        const InputRows& in, bool buffered, float* const* out) {
  const int64_t count = static_cast<int64_t>(rows.size());
  hidden_.Refill(count);
  linear_->GateUp(gate, up, Gather(rows, in), hidden_.rows(), 0);
  for (int64_t i = 0; i < count; ++i) {
    block_out_rows_[i] = buffered ? Contribution(rows[i]) : block_out_ + i * config_.embedding;
  }
  linear_->Multiply(down, hidden_.Quantize(linear_->kernels(), linear_->threads()), block_out_rows_);
  if (buffered) return;
  linear_->threads()->ParallelFor(count, [&](int64_t i, int) {
    linear_->kernels().ops.axpy(rows[i].weight, block_out_rows_[i], out[rows[i].row], config_.embedding);
  });
}

void MoeFfn::SumBuffered(int64_t rows, float* const* out) {
  linear_->threads()->ParallelFor(rows, [&](int64_t r, int) {
    const absl::Span<const ExpertChoice> choices = routing_.choices(r);
    for (size_t k = 0; k < choices.size(); ++k) {
      const RoutedRow row{static_cast<int32_t>(r), static_cast<int32_t>(k), choices[k].weight};
      linear_->kernels().ops.axpy(row.weight, Contribution(row), out[r], config_.embedding);
    }
  });
}

}  // namespace sluice
