#include "src/model/forward.h"

#include <algorithm>

#include "base/check.h"
#include "base/status.h"
#include "compute/ops.h"
#include "src/model/formats.h"

namespace sluice {
namespace {

// Everything that reads a normed row but the router, which takes floats.
FormatSet NormedFormats(const ForwardContext& context) {
  FormatSet formats;
  for (TrunkOp op : {TrunkOp::kQueryLatent, TrunkOp::kKvLatent, TrunkOp::kFfnGateUp}) {
    formats = Union(formats, FormatsOf(*context.layout, *context.kernels, op));
  }
  if (context.config->query_lora_rank == 0) {
    formats = Union(formats, FormatsOfSlice(*context.layout, *context.kernels, TrunkOp::kHeads, 0));
  }
  for (const ExpertShape& shape : context.layout->expert_shapes) {
    formats.Add(context.kernels->For(shape.gate).format);
    formats.Add(context.kernels->For(shape.up).format);
  }
  return formats;
}

FormatSet Formats(const ForwardContext& context, TrunkOp op) {
  return FormatsOf(*context.layout, *context.kernels, op);
}

}  // namespace

Forward::Forward(Arena* arena, const ForwardContext& context, const ForwardLimits& limits)
    : context_(context),
      config_(*context.config),
      limits_(limits),
      linear_(arena, context.kernels, context.threads),
      rope_(config_.rope_dims, config_.rope_base, config_.yarn),
      trunk_(context.layout, context.trunk),
      embedding_(arena, *context.layout->embedding, limits.alignment, limits.max_rows, context.stop),
      attention_(arena, config_, *context.layout, &linear_, limits.max_rows),
      moe_(arena, config_, *context.layout, &linear_, limits.max_rows),
      guesser_(arena, config_, &linear_, limits.max_rows),
      normed_(arena, limits.max_rows, config_.embedding, NormedFormats(context)),
      attended_(arena, limits.max_rows, config_.heads * config_.value_dims, Formats(context, TrunkOp::kAttentionOut)),
      hidden_(arena, limits.max_rows, std::max(config_.dense_ffn, config_.shared_ffn),
              Formats(context, TrunkOp::kFfnDown)),
      head_in_(arena, limits.max_logits_rows, config_.embedding, Formats(context, TrunkOp::kHead)) {
  const int64_t rows = limits.max_rows;
  residual_ = arena->Take<float>(rows * config_.embedding);
  residual_rows_ = arena->Take<float*>(rows);
  delta_ = arena->Take<float>(rows * config_.embedding);
  delta_rows_ = arena->Take<float*>(rows);
  angles_ = arena->Take<float>(rows * config_.rope_dims);
  logits_ = arena->Take<float>(limits.max_logits_rows * config_.vocab);
  logits_rows_ = arena->Take<float*>(limits.max_logits_rows);
  runs_ = arena->Take<SequenceRun>(rows);
}

absl::StatusOr<absl::Span<const float>> Forward::Run(absl::Span<const Row> rows, const OnLayer& on_layer,
                                                     int64_t next_rows) {
  ForgetFailedSweep();
  next_rows_ = next_rows;
  const int64_t count = static_cast<int64_t>(rows.size());
  const int64_t logits_rows = std::count_if(rows.begin(), rows.end(), [](const Row& row) { return row.wants_logits; });
  SLUICE_CHECK(count >= 1 && count <= limits_.max_rows && logits_rows <= limits_.max_logits_rows);
  for (int64_t r = 0; r < count; ++r) {
    residual_rows_[r] = residual_ + r * config_.embedding;
    delta_rows_[r] = delta_ + r * config_.embedding;
    rope_.Angles(rows[r].position, angles_ + r * config_.rope_dims);
  }
  FindRuns(rows);
  const Sweep sweep{rows, {runs_, static_cast<size_t>(run_count_)}, angles_};
  const absl::Status status = RunLayers(sweep, logits_rows, on_layer);
  failed_ = !status.ok();
  if (failed_) return status;
  context_.cache->EndSweep();
  return absl::Span<const float>(logits_, logits_rows * config_.vocab);
}

// Not at once: it waits for reads, and one reason to fail is that they take too long.
void Forward::ForgetFailedSweep() {
  if (!failed_) return;
  trunk_.Cancel();
  context_.cache->Cancel();
  if (context_.pool != nullptr) context_.pool->Cancel();
}

void Forward::FindRuns(absl::Span<const Row> rows) {
  run_count_ = 0;
  for (int64_t r = 0; r < static_cast<int64_t>(rows.size()); ++r) {
    const KvCache& cache = *context_.cache;
    SLUICE_CHECK(rows[r].sequence >= 0 && rows[r].sequence < cache.shape().sequences);
    SLUICE_CHECK(rows[r].position >= 0 && rows[r].position < cache.capacity(rows[r].sequence));
    const bool same_sequence = r > 0 && rows[r - 1].sequence == rows[r].sequence;
    SLUICE_CHECK(!same_sequence || rows[r].position == rows[r - 1].position + 1);
    const bool continues = same_sequence && rows[r - 1].generated == rows[r].generated;
    if (!continues) runs_[run_count_++] = {rows[r].sequence, rows[r].generated, r, r};
    runs_[run_count_ - 1].end = r + 1;
  }
}

absl::Status Forward::RunLayers(const Sweep& sweep, int64_t logits_rows, const OnLayer& on_layer) {
  context_.cache->BeginSweep(sweep);
  trunk_.BeginSweep(/*with_head=*/logits_rows > 0);
  RETURN_IF_ERROR(embedding_.Read(sweep.rows, context_.loader, residual_rows_));
  for (int layer = 0; layer < config_.layers; ++layer) {
    if (context_.stop != nullptr && context_.stop->load(std::memory_order_relaxed)) {
      return absl::CancelledError("interrupted");
    }
    RETURN_IF_ERROR(Layer(layer, sweep));
    if (on_layer) on_layer(layer + 1);
  }
  return logits_rows > 0 ? Head(sweep) : absl::OkStatus();
}

absl::Status Forward::Layer(int layer, const Sweep& sweep) {
  Normalize(context_.vectors->Find(layer, "attn_norm.weight"), sweep.count());
  RETURN_IF_ERROR(Attend(layer, sweep));
  AddToResidual(sweep.count());
  Normalize(context_.vectors->Find(layer, "ffn_norm.weight"), sweep.count());
  RETURN_IF_ERROR(config_.is_moe(layer) ? MoeLayer(layer, sweep) : DenseFfn(layer, sweep));
  AddToResidual(sweep.count());
  return absl::OkStatus();
}

absl::Status Forward::Attend(int layer, const Sweep& sweep) {
  RETURN_IF_ERROR(context_.cache->BeginLayer(layer));
  RETURN_IF_ERROR(attention_.Run(layer, sweep, *context_.vectors, &trunk_, context_.cache, &normed_, &attended_));
  RETURN_IF_ERROR(context_.cache->EndLayer(layer));
  return Product(TrunkOp::kAttentionOut, layer, Inputs(&attended_), delta_rows_);
}

absl::Status Forward::DenseFfn(int layer, const Sweep&) { return GatedFfn(layer, Inputs(&normed_)); }

absl::Status Forward::MoeLayer(int layer, const Sweep& sweep) {
  const InputRows in = Inputs(&normed_);
  RETURN_IF_ERROR(moe_.Route(layer, *context_.vectors, &trunk_, in));
  // From here every expert this layer needs is known: reads start now.
  RETURN_IF_ERROR(context_.pool->Demand(layer - config_.dense_layers, moe_.routing().experts(),
                                        MoeFfn::DeliveryFor(sweep.count())));
  if (context_.observer != nullptr) context_.observer->OnRouting(layer - config_.dense_layers, sweep, moe_.routing());
  // The shared expert overlaps the reads; the routed ones are added to it.
  if (config_.shared_ffn > 0) {
    RETURN_IF_ERROR(GatedFfn(layer, in));
  } else {
    std::fill_n(delta_, sweep.count() * config_.embedding, 0.0f);
  }
  GuessNext(layer, sweep.count());
  return moe_.Apply(layer, context_.pool, in, delta_rows_);
}

// While the reads of this layer fly: what follows them must be known before they end.
void Forward::GuessNext(int layer, int64_t rows) {
  if (!context_.prefetch) return;
  const PoolCounters counters = context_.pool->counters();
  if (!guess_gate_.Open({counters.prefetches_used, counters.prefetches_wasted, counters.prefetch_gained_bytes,
                         counters.prefetch_lost_bytes})) {
    return;
  }
  const bool is_last = layer + 1 == config_.layers;
  const int next = is_last ? config_.dense_layers : layer + 1;
  const int64_t wanting_rows = is_last ? next_rows_ : rows;
  absl::Span<const int> guesses = guesser_.GuessAll(wanting_rows);
  const double odds = guesses.empty() ? guess_gate_.usefulness() : guesser_.WantedShare(wanting_rows);
  if (guesses.empty() && !is_last) {
    guesses = guesser_.Guess(next, *context_.vectors, trunk_, residual_rows_, delta_rows_, rows);
  }
  context_.pool->Prefetch(next - config_.dense_layers, guesses, odds);
}

absl::Status Forward::GatedFfn(int layer, const InputRows& in) {
  hidden_.Refill(in.count, config_.is_moe(layer) ? config_.shared_ffn : config_.dense_ffn);
  do {
    RETURN_IF_ERROR(trunk_.Next(TrunkOp::kFfnGateUp, layer));
    linear_.GateUp(trunk_.matrix(0), trunk_.matrix(1), in, hidden_.rows(), trunk_.row_begin());
  } while (!trunk_.last());
  return Product(TrunkOp::kFfnDown, layer, Inputs(&hidden_), delta_rows_);
}

absl::Status Forward::Product(TrunkOp op, int layer, const InputRows& in, float* const* out) {
  do {
    RETURN_IF_ERROR(trunk_.Next(op, layer));
    linear_.Multiply(trunk_.matrix(0), in, out, trunk_.row_begin());
  } while (!trunk_.last());
  return absl::OkStatus();
}

absl::Status Forward::Head(const Sweep& sweep) {
  int64_t count = 0;
  const float* norm = context_.vectors->FindGlobal("output_norm.weight");
  for (int64_t r = 0; r < sweep.count(); ++r) {
    if (!sweep.rows[r].wants_logits) continue;
    RmsNorm(context_.kernels->ops, residual_rows_[r], norm, config_.embedding, config_.rms_epsilon,
            head_in_.row(count));
    logits_rows_[count] = logits_ + count * config_.vocab;
    ++count;
  }
  head_in_.Refill(count);
  return Product(TrunkOp::kHead, config_.layers, Inputs(&head_in_), logits_rows_);
}

void Forward::Normalize(const float* weight, int64_t count) {
  context_.threads->ParallelFor(count, [&](int64_t r, int) {
    RmsNorm(context_.kernels->ops, residual_rows_[r], weight, config_.embedding, config_.rms_epsilon, normed_.row(r));
  });
  normed_.Refill(count);
}

void Forward::AddToResidual(int64_t count) {
  context_.threads->ParallelFor(count, [&](int64_t r, int) {
    for (int64_t i = 0; i < config_.embedding; ++i) residual_rows_[r][i] += delta_rows_[r][i];
  });
}

}  // namespace sluice
