// A model ready to run inside a memory budget.
//
// Owns everything: the plan, the I/O thread, the pool, the trunk, the KV cache,
// the workspace and the forward pass. Created in one go: the plan comes first,
// then all memory, then the pinned weights are read. One caller thread.
#ifndef SLUICE_SRC_ENGINE_ENGINE_H_
#define SLUICE_SRC_ENGINE_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "src/engine/planning.h"
#include "src/model/forward.h"
#include "src/model/kv_cache.h"
#include "src/model/model_config.h"
#include "src/model/resident_vectors.h"
#include "src/model/weight_layout.h"
#include "storage/block_reader.h"
#include "storage/durable_files.h"
#include "storage/expert_pool.h"
#include "storage/memory_plan.h"
#include "storage/model_files.h"
#include "storage/read_pattern.h"
#include "storage/record_loader.h"
#include "storage/trunk_stream.h"

namespace sluice {

enum class ComputeMode { kFast, kFloat };

struct EngineOptions {
  // How the model is read through the backend that `io` has led to, whose name is
  // given. Asked once, when nothing large has been allocated yet; may read.
  using ChoosePattern = std::function<ReadPattern(const ModelFiles& files, IoBackend backend, uint64_t ram_bytes,
                                                  absl::string_view io_name)>;
  uint64_t ram_bytes = 0;  // 0: what the machine can spare
  int64_t context = 1;     // positions of each sequence
  // How many sequences at once, best first: the first that the budget has room for
  // is granted, the last one or nothing.
  std::vector<SequenceShape> shapes = {SequenceShape()};
  int64_t sweep_rows = 1;         // wanted; the plan may grant fewer
  int64_t logits_rows = 1;        // wanted in one sweep; the plan may grant fewer
  bool row_per_sequence = false;  // a sweep takes a row of each sequence at least, and their logits
  int threads = 0;                // 0: one per core
  KvType kv_type = KvType::kF16;  // --compute float always uses kF32
  IoBackend io = IoBackend::kAuto;
  ComputeMode compute = ComputeMode::kFast;
  std::string kernel_set;  // empty: the best
  CallerBytes caller;
  const std::atomic<bool>* stop = nullptr;
  std::string spill_path;               // of the file for spilled shapes; kept when there, never removed
  DurableFiles* files = nullptr;        // through which it is written; null: the host's
  std::string mirror;                   // a second copy of the model, on another drive; empty: none
  bool prefetch = true;                 // guess the next layer's experts while the drive would idle
  RoutingObserver* observer = nullptr;  // told what rows chose; outlives the engine
  ChoosePattern choose_pattern = [](const ModelFiles&, IoBackend, uint64_t, absl::string_view) {
    return ReadPattern();
  };
  // Told the plan before anything large is allocated.
  std::function<void(const MemoryPlan& plan)> on_plan = [](const MemoryPlan&) {};
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> load_progress = [](uint64_t, uint64_t) {};

  // For the gates: tiny models would otherwise fit any budget.
  int max_class_slots = 1 << 30;
  size_t max_pinned_pieces = SIZE_MAX;
  int max_stream_slots = 1 << 30;
  std::function<std::unique_ptr<BlockReader>(std::unique_ptr<BlockReader>)> wrap_reader;
};

// The kernel set that an engine with these options computes with, and its KV.
absl::StatusOr<const KernelSet*> KernelsFor(const EngineOptions& options);
KvType KvTypeFor(const EngineOptions& options);

// Running totals; differences of two snapshots describe what lay between.
struct EngineCounters {
  int64_t time_ns = 0;
  int64_t sweep_ns = 0;  // inside RunSweep
  int64_t stall_ns = 0;  // of it, waiting for reads
  uint64_t sweeps = 0;
  uint64_t rows = 0;
  uint64_t trunk_streamed_bytes = 0;
  uint64_t spill_read_bytes = 0;
  uint64_t spill_written_bytes = 0;
  IoCounters io;
  PoolCounters pool;

  // Time with a read in flight that somebody waited for or used.
  int64_t busy_ns() const { return io.busy_ns + pool.prefetch_used_ns; }
};

class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> Create(ModelFiles files, const EngineOptions& options);
  // Whether the budget has room for a plan.
  static absl::StatusOr<bool> HasPlan(ModelFiles files, const EngineOptions& options);

  const ModelConfig& config() const { return config_; }
  // The model's (first) file.
  const std::string& path() const { return files_.paths()[0]; }
  const MemoryPlan& plan() const { return plan_; }
  const EngineOptions& options() const { return options_; }
  const BlockReader& reader() const { return loader_->reader(); }
  absl::string_view kernel_set_name() const { return kernels_->name; }
  int threads() const { return threads_->threads(); }
  // Where sequences take room and give it back, between sweeps.
  KvCache* kv_cache() { return cache_.get(); }
  uint64_t kv_bytes() const { return KvCache::RowsBytes(cache_->shape()); }
  // What a read of an expert of a MoE layer takes, a slot's worth.
  uint64_t RecordBytes(int moe_layer) const;
  // What the plan granted.
  const SequenceShape& sequence_shape() const { return shape_; }
  int64_t max_rows() const { return limits_.max_rows; }
  int64_t max_logits_rows() const { return limits_.max_logits_rows; }

  // See Forward::Run. A Cancelled status when the stop flag was raised.
  absl::StatusOr<absl::Span<const float>> RunSweep(absl::Span<const Row> rows, const OnLayer& on_layer = nullptr,
                                                   int64_t next_rows = 0);

  EngineCounters counters() const;

 private:
  Engine(ModelFiles files, const EngineOptions& options) : files_(std::move(files)), options_(options) {}

  absl::Status Open();
  // Makes sure that there is a file to open, whose size comes with the plan.
  absl::Status FindSpill();
  absl::Status Plan();
  void ChooseShape();
  SweepWish Wish() const;
  absl::Status Allocate();
  absl::Status MakeCache();
  absl::Status ReadModel();
  PlanFacts Facts() const;

  ModelFiles files_;
  EngineOptions options_;
  SequenceShape shape_;
  ModelConfig config_;
  WeightLayout layout_;
  const KernelSet* kernels_ = nullptr;
  std::unique_ptr<ThreadPool> threads_;
  ForwardLimits limits_;
  MemoryPlan plan_;
  ReadPattern pattern_;
  bool is_spare_ram_ = false;  // the budget is what the machine can spare
  std::unique_ptr<DurableFiles> host_files_;
  int spill_file_ = 0;  // of the loader
  std::unique_ptr<RecordLoader> loader_;
  ResidentVectors vectors_;
  std::unique_ptr<TrunkStream> trunk_;
  std::unique_ptr<ExpertPool> pool_;
  std::unique_ptr<KvCache> cache_;
  AlignedBuffer workspace_;
  std::unique_ptr<Forward> forward_;
  EngineCounters totals_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_ENGINE_H_
