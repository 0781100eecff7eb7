// The forward pass: one sweep of rows through all layers.
//
// The only code path there is: a chat turn is a sweep of one row, a prompt a
// few sweeps of many, a batch a sweep of many sequences. Bits of a row do not
// depend on the other rows, on the pool, on threads or on the order of reads.
// All memory is laid out at creation. One caller thread.
#ifndef SLUICE_SRC_MODEL_FORWARD_H_
#define SLUICE_SRC_MODEL_FORWARD_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "base/arena.h"
#include "prefetch/guess_gate.h"
#include "src/model/activation_rows.h"
#include "src/model/embedding.h"
#include "src/model/expert_guesser.h"
#include "src/model/kv_cache.h"
#include "src/model/linear.h"
#include "src/model/mla_attention.h"
#include "src/model/moe_ffn.h"
#include "src/model/rope.h"
#include "src/model/routing_observer.h"

namespace sluice {

// The parts that a forward pass works on; all outlive it.
struct ForwardContext {
  const ModelConfig* config = nullptr;
  const WeightLayout* layout = nullptr;
  const KernelSet* kernels = nullptr;
  ThreadPool* threads = nullptr;
  // Null while only counting the workspace:
  const ResidentVectors* vectors = nullptr;
  TrunkStream* trunk = nullptr;
  ExpertPool* pool = nullptr;  // null for a model without experts
  RecordLoader* loader = nullptr;
  KvCache* cache = nullptr;
  // When raised, a sweep ends with a Cancelled status, between layers or while it
  // waits for a read; the same flag as that of the trunk and the pool.
  const std::atomic<bool>* stop = nullptr;
  bool prefetch = true;  // guess the next layer's experts into idle time of the drive
  // Told what rows chose; may be null.
  RoutingObserver* observer = nullptr;
};

// Told after each layer of a sweep how many are done; may be null.
using OnLayer = std::function<void(int layers_done)>;

struct ForwardLimits {
  int64_t max_rows = 1;         // of a sweep
  int64_t max_logits_rows = 1;  // rows of a sweep that want logits
  uint32_t alignment = 4096;    // of the reader
};

class Forward {
 public:
  // With a counting arena only the arena's used_bytes() is of use afterwards.
  Forward(Arena* arena, const ForwardContext& context, const ForwardLimits& limits);

  // Puts pinned weights in the order that products like best; once, when they have been loaded.
  void InterleavePinned() { trunk_.InterleavePinned(&linear_); }

  // Runs a sweep. Rows of one sequence are neighbours with positions rising by
  // one, and continue what the cache holds of it. Returns the logits of the rows
  // that want them, in order, vocab floats each, valid until the next call. After
  // an error reads may be in flight: the next call waits for them, and so do the
  // destructors of trunk, pool and cache; the same rows can be run again.
  // `next_rows`: what the next sweep will carry; its first experts are read ahead
  // when so many rows are certain to want nearly all. 0: unknown.
  absl::StatusOr<absl::Span<const float>> Run(absl::Span<const Row> rows, const OnLayer& on_layer = nullptr,
                                              int64_t next_rows = 0);

 private:
  void ForgetFailedSweep();
  absl::Status RunLayers(const Sweep& sweep, int64_t logits_rows, const OnLayer& on_layer);
  absl::Status Layer(int layer, const Sweep& sweep);
  absl::Status Attend(int layer, const Sweep& sweep);
  absl::Status DenseFfn(int layer, const Sweep& sweep);
  absl::Status MoeLayer(int layer, const Sweep& sweep);
  void GuessNext(int layer, int64_t rows);
  absl::Status GatedFfn(int layer, const InputRows& in);
  absl::Status Head(const Sweep& sweep);
  absl::Status Product(TrunkOp op, int layer, const InputRows& in, float* const* out);
  void Normalize(const float* weight, int64_t count);
  void AddToResidual(int64_t count);
  void FindRuns(absl::Span<const Row> rows);
  InputRows Inputs(ActivationRows* rows) { return rows->Quantize(*context_.kernels, context_.threads); }

  const ForwardContext context_;
  const ModelConfig& config_;
  const ForwardLimits limits_;
  Linear linear_;
  Rope rope_;
  Trunk trunk_;
  Embedding embedding_;
  MlaAttention attention_;
  MoeFfn moe_;
  ExpertGuesser guesser_;
  GuessGate guess_gate_;
  ActivationRows normed_;
  ActivationRows attended_;
  ActivationRows hidden_;
  ActivationRows head_in_;
  float* residual_;  // [max_rows][embedding]
  float** residual_rows_;
  float* delta_;  // what a block adds to the residual
  float** delta_rows_;
  float* angles_;
  float* logits_;
  float** logits_rows_;
  SequenceRun* runs_;
  int64_t run_count_ = 0;
  int64_t next_rows_ = 0;  // of the next sweep
  bool failed_ = false;    // the last sweep: trunk, cache and pool are in the middle of it
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_FORWARD_H_
