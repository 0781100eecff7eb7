#include "src/engine/engine.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "src/model/model_family.h"
#include "storage/mirror.h"
#include "storage/system_memory.h"

namespace sluice {
namespace {

// Of a guess in flight, what demand may have to wait for.
constexpr uint32_t kGuessBytesInFlight = 4 << 20;
// What a spill is made with, so that its alignment can be asked for.
constexpr uint64_t kFirstSpillBytes = 64 << 10;

int ThreadsOrDefault(int threads) {
  return threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

absl::StatusOr<const KernelSet*> KernelsFor(const EngineOptions& options) {
  if (options.compute == ComputeMode::kFloat) return &FloatKernelSet();
  if (options.kernel_set.empty()) return &BestKernelSet();
  const KernelSet* kernels = FindKernelSet(options.kernel_set);
  if (kernels != nullptr) return kernels;
  std::string available;
  for (const KernelSet* set : AvailableKernelSets()) absl::StrAppend(&available, " ", set->name);
  return absl::InvalidArgumentError(
      absl::StrCat("kernel set \"", options.kernel_set, "\" is not available on this machine; available:", available));
}

KvType KvTypeFor(const EngineOptions& options) {
  return options.compute == ComputeMode::kFloat ? KvType::kF32 : options.kv_type;
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(ModelFiles files, const EngineOptions& options) {
  std::unique_ptr<Engine> engine(new Engine(std::move(files), options));
  RETURN_IF_ERROR(engine->ReadModel());
  RETURN_IF_ERROR(engine->Open());
  RETURN_IF_ERROR(engine->Plan());
  RETURN_IF_ERROR(engine->Allocate());
  return engine;
}

absl::StatusOr<bool> Engine::HasPlan(ModelFiles files, const EngineOptions& options) {
  Engine engine(std::move(files), options);
  engine.options_.on_plan = [](const MemoryPlan&) {};
  engine.options_.choose_pattern = EngineOptions().choose_pattern;
  RETURN_IF_ERROR(engine.ReadModel());
  RETURN_IF_ERROR(engine.Open());
  const absl::Status planned = engine.Plan();
  if (!planned.ok() && !absl::IsResourceExhausted(planned)) return planned;
  return planned.ok();
}

absl::Status Engine::ReadModel() {
  ASSIGN_OR_RETURN(const ModelFamily* family, FamilyOf(files_));
  ASSIGN_OR_RETURN(config_, family->read_config(files_));
  ASSIGN_OR_RETURN(layout_, LayOut(*family, files_, config_));
  ASSIGN_OR_RETURN(kernels_, KernelsFor(options_));
  threads_ = std::make_unique<ThreadPool>(ThreadsOrDefault(options_.threads));
  is_spare_ram_ = options_.ram_bytes == 0;
  if (is_spare_ram_) options_.ram_bytes = DefaultBudgetBytes();
  options_.kv_type = KvTypeFor(options_);
  if (options_.context > config_.context_length) {
    return absl::InvalidArgumentError(absl::StrCat("a context of ", options_.context, " tokens is beyond the model's ",
                                                   config_.context_length, "; give a smaller --ctx or a shorter text"));
  }
  return absl::OkStatus();
}

absl::Status Engine::Open() {
  std::vector<std::string> paths = files_.paths();
  std::vector<uint64_t> sizes = files_.file_sizes();
  const int drives = options_.mirror.empty() ? 1 : 2;
  if (drives == 2) {
    ASSIGN_OR_RETURN(const std::vector<std::string> mirrors, FindMirror(files_, options_.mirror));
    paths.insert(paths.end(), mirrors.begin(), mirrors.end());
    sizes.insert(sizes.end(), files_.file_sizes().begin(), files_.file_sizes().end());
  }
  if (!options_.spill_path.empty() && options_.io != IoBackend::kMmap) {
    RETURN_IF_ERROR(FindSpill());
    spill_file_ = static_cast<int>(paths.size());
    paths.push_back(options_.spill_path);
    sizes.push_back(RecordLoader::kGrows);
  }
  ASSIGN_OR_RETURN(std::unique_ptr<BlockReader> reader,
                   OpenBlockReader(options_.io, paths, drives * ReadPattern::kMostDepth));
  if (reader->Mapped(0) == nullptr) {
    pattern_ = options_.choose_pattern(files_, options_.io, options_.ram_bytes, reader->name());
  }
  SLUICE_CHECK(pattern_.IsSound());
  if (options_.wrap_reader) reader = options_.wrap_reader(std::move(reader));
  RecordLoader::Options loader_options;
  loader_options.chunk_bytes = pattern_.chunk_bytes;
  loader_options.depth = drives * pattern_.depth;
  loader_options.prefetch_depth =
      std::clamp(static_cast<int>(kGuessBytesInFlight / pattern_.chunk_bytes), 1, pattern_.depth);
  if (drives == 2) loader_options.mirrored_files = files_.paths().size();
  loader_ = RecordLoader::Start(std::move(reader), std::move(paths), std::move(sizes), loader_options);
  return absl::OkStatus();
}

absl::Status Engine::FindSpill() {
  if (options_.files == nullptr) {
    host_files_ = HostFiles();
    options_.files = host_files_.get();
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<DurableFile> found, options_.files->OpenAppend(options_.spill_path));
  if (found->size_bytes() > 0) return absl::OkStatus();
  return options_.files->OpenBlocks(options_.spill_path, kFirstSpillBytes).status();
}

PlanFacts Engine::Facts() const {
  PlanFacts facts;
  facts.files = &files_;
  facts.config = &config_;
  facts.layout = &layout_;
  facts.kernels = kernels_;
  facts.threads = threads_.get();
  facts.cache = {options_.kv_type,   config_.layers,   shape_.sequences, options_.context,
                 config_.kv_width(), shape_.kv_blocks, shape_.spilled,   loader_->alignment_bytes()};
  facts.alignment = loader_->alignment_bytes();
  facts.mapped = loader_->reader().Mapped(0) != nullptr;
  facts.caller = options_.caller;
  facts.caller.held += shape_.held_bytes;
  return facts;
}

SweepWish Engine::Wish() const {
  return {options_.sweep_rows, options_.logits_rows, options_.row_per_sequence ? shape_.sequences : 1};
}

// Fewer sequences at once cost speed and change no result.
void Engine::ChooseShape() {
  SLUICE_CHECK(!options_.shapes.empty());
  for (const SequenceShape& shape : options_.shapes) {
    shape_ = shape;
    const PlanFacts facts = Facts();
    if (FloorBytes(MakeRequest(facts, SmallestLimits(facts, Wish()))) <= options_.ram_bytes) return;
  }
}

absl::Status Engine::Plan() {
  ChooseShape();
  if (shape_.spilled && options_.io == IoBackend::kMmap) {
    return absl::InvalidArgumentError(
        "--io mmap cannot read keys and values that are spilled to the drive; use --io auto, or a larger --ram");
  }
  const PlanFacts facts = Facts();
  limits_ = GrantLimits(facts, Wish(), options_.ram_bytes);
  PlanRequest request = MakeRequest(facts, limits_);
  request.budget_bytes = options_.ram_bytes;
  ASSIGN_OR_RETURN(plan_, MakePlan(request));
  if (is_spare_ram_) plan_.budget_origin = "what the machine can spare";
  if (!facts.mapped) plan_.reads = pattern_.ToText();
  plan_.pinned_pieces = std::min(plan_.pinned_pieces, options_.max_pinned_pieces);
  if (plan_.pinned_pieces < request.piece_bytes.size() && plan_.stream_slots == 0) plan_.stream_slots = 2;
  plan_.stream_slots = std::min(plan_.stream_slots, options_.max_stream_slots);
  for (ExpertPool::SizeClass& c : plan_.classes) c.slots = std::min(c.slots, options_.max_class_slots);
  options_.on_plan(plan_);
  return absl::OkStatus();
}

absl::Status Engine::MakeCache() {
  const KvCache::Shape shape = Facts().cache;
  KvSpill::Source spill;
  if (shape.spilled) {
    SLUICE_CHECK(!options_.spill_path.empty());
    ASSIGN_OR_RETURN(spill.writer, options_.files->OpenBlocks(options_.spill_path, KvCache::SpillBytes(shape)));
    spill.loader = loader_.get();
    spill.file = spill_file_;
    spill.stop = options_.stop;
  }
  ASSIGN_OR_RETURN(KvCache cache, KvCache::Create(shape, &kernels_->ops, std::move(spill)));
  cache_ = std::make_unique<KvCache>(std::move(cache));
  return absl::OkStatus();
}

absl::Status Engine::Allocate() {
  ASSIGN_OR_RETURN(vectors_, ResidentVectors::Load(layout_, config_.layers, loader_.get()));
  RETURN_IF_ERROR(MakeCache());
  TrunkStream::Options trunk_options;
  for (const TrunkPiece& piece : layout_.pieces) trunk_options.pieces.push_back(piece.record);
  trunk_options.head_begin = layout_.head_begin;
  trunk_options.pinned.assign(layout_.pieces.size(), false);
  const bool mapped = loader_->reader().Mapped(0) != nullptr;
  const size_t pinned = mapped ? layout_.pieces.size() : plan_.pinned_pieces;
  std::fill_n(trunk_options.pinned.begin(), pinned, true);
  trunk_options.stream_slots = std::max(plan_.stream_slots, 2);
  trunk_options.stop = options_.stop;
  ASSIGN_OR_RETURN(trunk_, TrunkStream::Create(std::move(trunk_options), loader_.get()));
  if (config_.moe_layers() > 0) {
    ExpertPool::Options pool_options{config_.moe_layers(), config_.routing.experts, layout_.experts, plan_.classes,
                                     options_.stop};
    ASSIGN_OR_RETURN(pool_,
                     ExpertPool::Create(std::move(pool_options), loader_.get(),
                                        MakeExpectedDistancePolicy(config_.moe_layers(), config_.routing.experts)));
  }
  ASSIGN_OR_RETURN(workspace_, AlignedBuffer::Create(WorkspaceBytes(Facts(), limits_)));
  Arena arena(workspace_.data(), workspace_.size_bytes());
  const ForwardContext context{&config_,
                               &layout_,
                               kernels_,
                               threads_.get(),
                               &vectors_,
                               trunk_.get(),
                               pool_.get(),
                               loader_.get(),
                               cache_.get(),
                               options_.stop,
                               options_.prefetch && !mapped,
                               options_.observer};
  forward_ = std::make_unique<Forward>(&arena, context, limits_);
  std::vector<absl::Span<uint8_t>> regions = trunk_->memory_regions();
  if (pool_ != nullptr) {
    const std::vector<absl::Span<uint8_t>> slots = pool_->memory_regions();
    regions.insert(regions.end(), slots.begin(), slots.end());
  }
  if (shape_.spilled) regions.push_back(cache_->memory_region());
  loader_->RegisterMemory(std::move(regions));
  RETURN_IF_ERROR(trunk_->LoadPinned(options_.load_progress));
  forward_->InterleavePinned();
  return absl::OkStatus();
}

absl::StatusOr<absl::Span<const float>> Engine::RunSweep(absl::Span<const Row> rows, const OnLayer& on_layer,
                                                         int64_t next_rows) {
  const int64_t begin_ns = NowNs();
  absl::StatusOr<absl::Span<const float>> logits = forward_->Run(rows, on_layer, next_rows);
  totals_.sweep_ns += NowNs() - begin_ns;
  ++totals_.sweeps;
  totals_.rows += rows.size();
  return logits;
}

uint64_t Engine::RecordBytes(int moe_layer) const {
  const Record& record = layout_.experts[static_cast<size_t>(moe_layer * config_.routing.experts)];
  const uint64_t bytes = SlotBytes(record, loader_->alignment_bytes());
  const int size_class = ExpertPool::ClassFor(plan_.classes, bytes);
  return size_class < 0 ? bytes : plan_.classes[size_class].slot_bytes;
}

EngineCounters Engine::counters() const {
  EngineCounters counters = totals_;
  counters.time_ns = NowNs();
  counters.io = loader_->counters();
  counters.stall_ns = trunk_->stall_ns() + cache_->stall_ns();
  counters.spill_read_bytes = cache_->spill_bytes_read();
  counters.spill_written_bytes = cache_->spill_bytes_written();
  counters.trunk_streamed_bytes = trunk_->streamed_bytes();
  if (pool_ != nullptr) {
    counters.pool = pool_->counters();
    counters.stall_ns += counters.pool.stall_ns;
  }
  return counters;
}

}  // namespace sluice
