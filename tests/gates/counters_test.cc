// The statistics say what the reader was asked for, and what the kernel says that it read.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/optional.h"
#include "base/mutex.h"
#include "base/status.h"
#include "src/engine/generate.h"
#include "src/model/model_family.h"
#include "storage/forwarding_block_reader.h"
#include "tests/gates/harness.h"

namespace sluice {
namespace {

std::string ModelPath() { return std::string(SLUICE_SOURCE_DIR) + "/demo/storyteller-q4_k_m.gguf"; }

// What lies where in the model's file.
class ModelMap {
 public:
  explicit ModelMap(uint32_t alignment) : alignment_(alignment) {
    absl::StatusOr<ModelFiles> files = ModelFiles::Open(ModelPath());
    REQUIRE(files.ok());
    const absl::StatusOr<const ModelFamily*> family = FamilyOf(*files);
    REQUIRE(family.ok());
    const absl::StatusOr<ModelConfig> config = (*family)->read_config(*files);
    REQUIRE(config.ok());
    const absl::StatusOr<WeightLayout> layout = LayOut(**family, *files, *config);
    REQUIRE(layout.ok());
    for (const Record& record : layout->experts) Add(record);
    for (const TrunkPiece& piece : layout->pieces) {
      Add(piece.record);
      largest_piece_bytes_ = std::max(largest_piece_bytes_, SlotBytes(piece.record, alignment_));
    }
    largest_expert_bytes_ = 0;
    for (const Record& record : layout->experts) {
      largest_expert_bytes_ = std::max(largest_expert_bytes_, SlotBytes(record, alignment_));
    }
  }

  struct Place {
    bool is_expert = false;
    bool is_first = false;      // slice of its record
    uint64_t read_bytes = 0;    // of the slice
    uint64_t record_bytes = 0;  // of all slices
  };
  // Of the slice that is read so; null of rows of the embedding and of norms.
  const Place* Find(const BlockRead& read) const {
    const auto found = places_.find(read.offset);
    return found == places_.end() || found->second.read_bytes != read.bytes ? nullptr : &found->second;
  }
  uint64_t largest_piece_bytes() const { return largest_piece_bytes_; }
  uint64_t largest_expert_bytes() const { return largest_expert_bytes_; }

 private:
  void Add(const Record& record) {
    for (size_t i = 0; i < record.slices.size(); ++i) {
      const Slice& slice = record.slices[i];
      // One read each, and no two begin together.
      const uint64_t bytes = SupersetBytes(slice, alignment_);
      REQUIRE(bytes <= 1 << 20);
      const Place place{record.expert >= 0, i == 0, bytes, SlotBytes(record, alignment_)};
      REQUIRE(places_.emplace(AlignDown(slice.offset, alignment_), place).second);
    }
  }

  const uint32_t alignment_;
  absl::flat_hash_map<uint64_t, Place> places_;
  uint64_t largest_piece_bytes_ = 0;
  uint64_t largest_expert_bytes_ = 0;
};

struct ReadCounts {
  uint64_t reads = 0;  // completed
  uint64_t bytes = 0;
  uint64_t expert_loads = 0;  // begun
  uint64_t expert_bytes = 0;  // asked for
  uint64_t expert_bytes_of_loads = 0;
  uint64_t trunk_bytes = 0;
};

class CountingReader final : public ForwardingBlockReader {
 public:
  explicit CountingReader(std::unique_ptr<BlockReader> reader)
      : ForwardingBlockReader(std::move(reader)), map_(alignment_bytes()) {}

  absl::Status Submit(absl::Span<const BlockRead> reads) override {
    {
      MutexLock lock(&mutex_);
      for (const BlockRead& read : reads) CountRequest(read);
    }
    return reader().Submit(reads);
  }
  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override {
    ASSIGN_OR_RETURN(const size_t count, reader().Reap(out));
    MutexLock lock(&mutex_);
    counts_.reads += count;
    for (size_t i = 0; i < count; ++i) counts_.bytes += static_cast<uint64_t>(std::max(out[i].result, 0));
    return count;
  }

  ReadCounts counts() const {
    MutexLock lock(&mutex_);
    return counts_;
  }
  const ModelMap& map() const { return map_; }

 private:
  void CountRequest(const BlockRead& read) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const ModelMap::Place* place = map_.Find(read);
    if (place == nullptr) return;
    (place->is_expert ? counts_.expert_bytes : counts_.trunk_bytes) += read.bytes;
    if (!place->is_expert || !place->is_first) return;
    ++counts_.expert_loads;
    counts_.expert_bytes_of_loads += place->record_bytes;
  }

  const ModelMap map_;
  mutable Mutex mutex_;
  ReadCounts counts_ ABSL_GUARDED_BY(mutex_);
};

struct Conditions {
  IoBackend io = IoBackend::kPread;
  bool prefetch = false;
  bool pinned = false;  // all of the trunk, or nothing
};

struct Counted {
  nlohmann::ordered_json stats;
  ReadCounts load;   // while the engine was made
  ReadCounts total;  // at the end
  EngineCounters engine;
  std::shared_ptr<CountingReader> reader;
};

// Both counters of the same moment; the loader's follows the reader's closely.
void AwaitAgreement(const Engine& engine, Counted* counted) {
  do {
    std::this_thread::yield();
    counted->total = counted->reader->counts();
    counted->engine = engine.counters();
  } while (counted->engine.io.reads != counted->total.reads);
}

absl::StatusOr<Counted> RunCounted(const Conditions& conditions) {
  Counted counted;
  EngineOptions options;
  options.ram_bytes = uint64_t{1} << 30;
  options.threads = 1;
  options.context = 40;
  options.sweep_rows = 1;
  options.io = conditions.io;
  options.prefetch = conditions.prefetch;
  options.max_class_slots = 8;
  options.max_pinned_pieces = conditions.pinned ? SIZE_MAX : 0;
  options.max_stream_slots = 2;
  options.wrap_reader = [&](std::unique_ptr<BlockReader> reader) {
    counted.reader = std::make_shared<CountingReader>(std::move(reader));
    return Share(counted.reader);
  };
  ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(ModelPath()));
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Create(std::move(files), options));
  GenerateRequest request;
  request.prompt = {700, 800, 900};
  request.max_tokens = 24;
  request.on_token = [](int32_t) { return true; };
  ASSIGN_OR_RETURN(Sampler sampler, Sampler::Create({.temperature = 0}));
  AwaitAgreement(*engine, &counted);
  counted.load = counted.total;
  RunTimeline timeline;
  timeline.load_bytes = engine->counters().io.bytes_read;
  RETURN_IF_ERROR(Generate(engine.get(), request, &sampler, &timeline));
  counted.stats = StatsJson(*engine, timeline);
  AwaitAgreement(*engine, &counted);
  return counted;
}

Counted MustRun(const Conditions& conditions) {
  absl::StatusOr<Counted> counted = RunCounted(conditions);
  REQUIRE_MESSAGE(counted.ok(), counted.status().ToString());
  return *std::move(counted);
}

// What the kernel counts of this process; nothing where it does not count.
absl::optional<uint64_t> KernelReadBytes() {
  std::ifstream io("/proc/self/io");
  for (std::string name; io >> name;) {
    uint64_t value = 0;
    if (io >> value && name == "read_bytes:") return value;
  }
  return absl::nullopt;
}

struct CheckedRun {
  Conditions conditions;
  Counted counted;
  absl::optional<uint64_t> kernel_bytes;  // over the engine's whole life
};

// Every condition once, with io_uring where it works.
const std::vector<CheckedRun>& AllRuns() {
  static const std::vector<CheckedRun> runs = [] {
    std::vector<CheckedRun> all;
    MustRun({});  // what the program itself reads from the drive is in memory now
    for (const IoBackend io : {IoBackend::kPread, IoBackend::kUring}) {
      if (!OpenBlockReader(io, {ModelPath()}, 4).ok()) {
        MESSAGE("SKIP: io_uring cannot be used here");
        continue;
      }
      for (const bool prefetch : {false, true}) {
        for (const bool pinned : {false, true}) {
          const absl::optional<uint64_t> before = KernelReadBytes();
          all.push_back({{io, prefetch, pinned}, MustRun({io, prefetch, pinned}), KernelReadBytes()});
          if (before.has_value() && all.back().kernel_bytes.has_value()) *all.back().kernel_bytes -= *before;
        }
      }
    }
    return all;
  }();
  return runs;
}

TEST_CASE("the bytes read are those that the reader delivered, of load, prompt and generation") {
  for (const CheckedRun& checked : AllRuns()) {
    const Conditions& conditions = checked.conditions;
    const Counted& run = checked.counted;
    CAPTURE(conditions.prefetch);
    CAPTURE(conditions.pinned);
    CHECK(run.engine.io.bytes_read == run.total.bytes);
    const uint64_t read = run.stats["bytes_read"];
    CHECK(read == run.stats["bytes_read_prompt"].get<uint64_t>() + run.stats["bytes_read_generate"].get<uint64_t>());
    CHECK(run.stats["bytes_read_load"] == run.load.bytes);
    CHECK(run.stats["bytes_read_generate"] > run.stats["bytes_read_load"]);
    // What is read ahead for nobody may end after the statistics were taken.
    uint64_t ahead = conditions.pinned ? 0 : 2 * run.reader->map().largest_piece_bytes();
    if (conditions.prefetch) ahead += run.reader->map().largest_expert_bytes();
    CHECK(read <= run.total.bytes);
    CHECK(read + ahead >= run.total.bytes);
  }
}

TEST_CASE("the trunk's bytes are those of the sweeps, and none when it is pinned") {
  for (const CheckedRun& checked : AllRuns()) {
    const Conditions& conditions = checked.conditions;
    const Counted& run = checked.counted;
    const uint64_t streamed = run.stats["trunk_streamed_bytes"];
    const uint64_t asked = run.total.trunk_bytes - run.load.trunk_bytes;
    CHECK((streamed == 0) == conditions.pinned);
    CHECK(asked >= streamed);
    CHECK(asked <= streamed + 2 * run.reader->map().largest_piece_bytes());
    CHECK(run.load.trunk_bytes == (conditions.pinned ? run.stats["trunk_pinned_bytes"].get<uint64_t>() : 0));
  }
}

TEST_CASE("every expert that is no hit is read once") {
  uint64_t all_guesses = 0;
  for (const CheckedRun& checked : AllRuns()) {
    const Conditions& conditions = checked.conditions;
    const Counted& run = checked.counted;
    CAPTURE(conditions.prefetch);
    const uint64_t lookups = run.stats["expert_lookups"], hits = run.stats["expert_hits"];
    const uint64_t used = run.stats["expert_prefetched_used"], wasted = run.stats["expert_prefetched_wasted"];
    const uint64_t loads = run.total.expert_loads;
    CHECK(run.load.expert_loads == 0);
    CHECK(hits > 0);
    CHECK(lookups > hits + 50);
    all_guesses += used + wasted;
    if (conditions.prefetch) {
      // A late guess is no hit and needs no other read; one in time is a hit that
      // was read; one given up may have been read or not.
      CHECK(loads >= lookups - hits);
      CHECK(loads <= lookups - hits + used + wasted);
      CHECK(run.total.expert_bytes <= run.total.expert_bytes_of_loads);
    } else {
      CHECK(used + wasted == 0);
      CHECK(loads == lookups - hits);
      CHECK(run.total.expert_bytes == run.total.expert_bytes_of_loads);
    }
  }
  CHECK(all_guesses > 0);
}

TEST_CASE("the kernel counts the same bytes from the drive") {
  for (const CheckedRun& checked : AllRuns()) {
    const Counted& run = checked.counted;
    if (!checked.kernel_bytes.has_value() || !run.reader->direct_io()) {
      MESSAGE("SKIP: no /proc/self/io here, or no direct reads of ", ModelPath());
      return;
    }
    // The engine has ended: everything that was in flight has been counted.
    constexpr uint64_t kHeaderBytes = 1 << 20;  // read through the page cache, should it have been dropped
    const uint64_t counted = run.reader->counts().bytes;
    CHECK(*checked.kernel_bytes >= counted);
    CHECK(*checked.kernel_bytes <= counted + run.reader->alignment_bytes() + kHeaderBytes);
    CHECK(counted > (uint64_t{20} << 20));
  }
}

}  // namespace
}  // namespace sluice
