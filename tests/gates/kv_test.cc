// Where keys and values lie decides no bit: in memory or on the drive, in order or not, alone or shared.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "base/mutex.h"
#include "base/status.h"
#include "storage/forwarding_block_reader.h"
#include "tests/gates/harness.h"
#include "tests/scratch_folder.h"
#include "tests/storage/failing_file.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

constexpr size_t kLongest = 110;  // three full blocks and a tail
const char kModel[] = "golden/deepseek2-mla-q8_0/model.gguf";

bool SameBits(absl::Span<const float> a, absl::Span<const float> b) {
  return a.size() == b.size() && !a.empty() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Spoils reads of the one file behind the model's, the spill.
class SpillFaults final : public ForwardingBlockReader {
 public:
  struct Script {
    uint64_t fail_from = 0;   // the first read that fails, from 1; 0: none
    uint64_t fail_count = 1;  // and as many as this
    uint64_t stall_from = 0;  // reads from this one on do not complete until EndStall
  };
  SpillFaults(std::unique_ptr<BlockReader> reader, int spill_file, const Script& script)
      : ForwardingBlockReader(std::move(reader)), spill_file_(spill_file), script_(script) {}

  absl::Status Submit(absl::Span<const BlockRead> reads) override {
    for (const BlockRead& read : reads) {
      if (read.file != spill_file_) continue;
      const uint64_t number = ++reads_;
      if (script_.fail_from != 0 && number >= script_.fail_from && number < script_.fail_from + script_.fail_count) {
        failing_.insert(read.tag);
      }
      if (script_.stall_from != 0 && number >= script_.stall_from && !stall_ended_) stalling_.insert(read.tag);
    }
    return reader().Submit(reads);
  }

  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override {
    if (stall_ended_ && !held_.empty()) {
      const size_t count = std::min(out.size(), held_.size());
      std::copy_n(held_.begin(), count, out.begin());
      held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
      return count;
    }
    ASSIGN_OR_RETURN(const size_t arrived, reader().Reap(out));
    size_t count = 0;
    for (size_t i = 0; i < arrived; ++i) {
      BlockCompletion completion = out[i];
      if (failing_.erase(completion.tag) > 0) completion.result = -EIO;
      if (stalling_.erase(completion.tag) > 0 && !stall_ended_) {
        held_.push_back(completion);
        ++stalled_;
      } else {
        out[count++] = completion;
      }
    }
    return count;
  }

  void EndStall() {
    stall_ended_ = true;
    reader().Wake();
  }
  uint64_t reads() const { return reads_; }
  size_t stalled() const { return stalled_; }

 private:
  const int spill_file_;
  const Script script_;
  std::set<uint64_t> failing_, stalling_;
  std::vector<BlockCompletion> held_;
  std::atomic<uint64_t> reads_{0};
  std::atomic<size_t> stalled_{0};
  std::atomic<bool> stall_ended_{false};
};

// The host's files, but for one write of a block file.
class FailingFiles final : public DurableFiles {
 public:
  std::atomic<int> fail_next_write{0};  // counted from 1

  absl::StatusOr<bool> Exists(const std::string& path) override { return files_->Exists(path); }
  absl::StatusOr<std::unique_ptr<const DurableFile>> OpenRead(const std::string& path) override {
    return files_->OpenRead(path);
  }
  absl::StatusOr<std::unique_ptr<DurableFile>> OpenAppend(const std::string& path) override {
    return files_->OpenAppend(path);
  }
  absl::StatusOr<std::unique_ptr<DurableFile>> OpenBlocks(const std::string& path, uint64_t bytes) override {
    ASSIGN_OR_RETURN(std::unique_ptr<DurableFile> file, files_->OpenBlocks(path, bytes));
    return std::unique_ptr<DurableFile>(new FailingFile(std::move(file), &fail_next_write));
  }
  absl::Status CreateFolder(const std::string& path) override { return files_->CreateFolder(path); }
  absl::Status Rename(const std::string& from, const std::string& to) override { return files_->Rename(from, to); }
  absl::Status Remove(const std::string& path) override { return files_->Remove(path); }
  absl::Status SyncFolder(const std::string& path) override { return files_->SyncFolder(path); }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override { return files_->Lock(path); }
  absl::StatusOr<bool> IsLocked(const std::string& path) override { return files_->IsLocked(path); }

 private:
  const std::unique_ptr<DurableFiles> files_ = HostFiles();
};

GateConditions Small(KvType type = KvType::kF16) {
  GateConditions conditions;
  conditions.engine.ram_bytes = uint64_t{1} << 30;
  conditions.engine.threads = 1;
  conditions.engine.io = IoBackend::kPread;
  conditions.engine.kv_type = type;
  return conditions;
}

GateConditions Spilled(const ScratchFolder& folder, KvType type = KvType::kF16) {
  GateConditions conditions = Small(type);
  conditions.engine.shapes = {{.sequences = 1, .spilled = true}};
  conditions.engine.spill_path = folder.Path("spill");
  conditions.chunk_rows = 25;
  return conditions;
}

std::vector<std::vector<int32_t>> Prompts() { return GoldenPrompts("deepseek2-mla-q8_0", kLongest); }

GateRun MustRun(const std::string& path, const std::vector<std::vector<int32_t>>& prompts,
                const GateConditions& conditions) {
  absl::StatusOr<GateRun> run = RunPrompts(path, prompts, conditions);
  REQUIRE_MESSAGE(run.ok(), run.status().ToString());
  return *std::move(run);
}

TEST_CASE("logits are the same with keys and values on the drive, whatever their type and the cut of the prompt") {
  for (const char* model : {kModel, "golden/deepseek2-legacy-quant/model-Q4_K_M.gguf"}) {
    SKIP_WITHOUT_SHARED(model);
    const std::string path = SharedPath(model);
    for (KvType type : {KvType::kF16, KvType::kQ8_0}) {
      const GateRun baseline = MustRun(path, Prompts(), Small(type));
      CHECK(baseline.counters.spill_written_bytes == 0);
      for (int64_t chunk : {7, 33, 64}) {
        const ScratchFolder folder;
        GateConditions conditions = Spilled(folder, type);
        conditions.chunk_rows = chunk;
        const GateRun run = MustRun(path, Prompts(), conditions);
        CHECK(SameBits(run.logits, baseline.logits));
        CHECK(run.counters.spill_read_bytes > 0);
        CHECK(run.counters.spill_written_bytes > 0);
        CHECK(run.counters.io.bytes_read > baseline.counters.io.bytes_read);
      }
    }
  }
}

TEST_CASE("logits are the same with a spill beside two copies of the model and a pool that evicts") {
  SKIP_WITHOUT_SHARED(kModel);
  const std::string path = SharedPath(kModel);
  const GateRun baseline = MustRun(path, Prompts(), Small());
  const ScratchFolder folder;
  GateConditions conditions = Spilled(folder);
  conditions.engine.mirror = path;
  conditions.engine.threads = 2;
  conditions.engine.io = IoBackend::kAuto;
  conditions.engine.max_class_slots = 5;
  conditions.engine.max_pinned_pieces = 0;
  conditions.engine.max_stream_slots = 2;
  conditions.engine.shapes[0].sequences = 3;
  const GateRun run = MustRun(path, Prompts(), conditions);
  CHECK(SameBits(run.logits, baseline.logits));
  CHECK(run.counters.spill_read_bytes > 0);
  CHECK(run.counters.pool.evictions > 0);
}

absl::StatusOr<GateRun> RunWithFaults(const ScratchFolder& folder, const SpillFaults::Script& script, uint64_t* reads) {
  GateConditions conditions = Spilled(folder);
  conditions.chunk_rows = 9;
  std::shared_ptr<SpillFaults> faults;
  conditions.engine.wrap_reader = [&](std::unique_ptr<BlockReader> reader) {
    faults = std::make_shared<SpillFaults>(std::move(reader), 1, script);
    return Share(faults);
  };
  absl::StatusOr<GateRun> run = RunPrompts(SharedPath(kModel), Prompts(), conditions);
  *reads = faults->reads();
  return run;
}

TEST_CASE("a read of the spill that fails once changes no bit, one that keeps failing ends the run with its place") {
  SKIP_WITHOUT_SHARED(kModel);
  const ScratchFolder folder;
  uint64_t reads = 0, ignored = 0;
  const absl::StatusOr<GateRun> baseline = RunWithFaults(folder, {}, &reads);
  REQUIRE_MESSAGE(baseline.ok(), baseline.status().ToString());
  REQUIRE(reads > 20);
  for (uint64_t n = 1; n <= reads; n += 7) {
    CAPTURE(n);
    const absl::StatusOr<GateRun> run = RunWithFaults(folder, {.fail_from = n}, &ignored);
    REQUIRE_MESSAGE(run.ok(), run.status().ToString());
    CHECK(run->counters.io.retries == 1);
    CHECK(SameBits(run->logits, baseline->logits));
    const absl::Status status =
        RunWithFaults(folder, {.fail_from = n, .fail_count = UINT64_MAX - n}, &ignored).status();
    CHECK(absl::StrContains(status.message(), "spilled keys and values of layer"));
    CHECK(absl::StrContains(status.message(), folder.Path("spill")));
  }
}

// An engine for sequences that the test leads by itself.
class LedEngine {
 public:
  LedEngine(const GateConditions& conditions, SequenceShape shape) {
    EngineOptions options = conditions.engine;
    shape.spilled = options.shapes[0].spilled;
    options.shapes = {shape};
    options.context = static_cast<int64_t>(kLongest);
    options.sweep_rows = options.logits_rows = 2 * options.context;
    auto files = ModelFiles::Open(SharedPath(kModel));
    REQUIRE(files.ok());
    auto engine = Engine::Create(*std::move(files), options);
    REQUIRE_MESSAGE(engine.ok(), engine.status().ToString());
    engine_ = *std::move(engine);
  }
  Engine* operator->() { return engine_.get(); }
  KvCache& cache() { return *engine_->kv_cache(); }

  static void Append(int sequence, const std::vector<int32_t>& tokens, size_t begin, size_t end,
                     std::vector<Row>* rows) {
    for (size_t i = begin; i < end; ++i) {
      rows->push_back({sequence, static_cast<int64_t>(i), tokens[i], /*wants_logits=*/true,
                       /*generated=*/i >= tokens.size() * 2 / 3});
    }
  }
  // All of a sequence, `chunk` rows at a time; whatever came before an error.
  absl::Status Run(int sequence, const std::vector<int32_t>& tokens, size_t chunk, std::vector<float>* logits) {
    logits->clear();
    for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
      std::vector<Row> rows;
      Append(sequence, tokens, begin, std::min(begin + chunk, tokens.size()), &rows);
      RETURN_IF_ERROR(Sweep(rows, logits));
    }
    return absl::OkStatus();
  }
  absl::Status Sweep(const std::vector<Row>& rows, std::vector<float>* logits) {
    ASSIGN_OR_RETURN(const absl::Span<const float> got, engine_->RunSweep(rows));
    logits->insert(logits->end(), got.begin(), got.end());
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<Engine> engine_;
};

std::vector<int32_t> LongPrompt() {
  const auto prompts = Prompts();
  const auto longer = [](const auto& a, const auto& b) { return a.size() < b.size(); };
  std::vector<int32_t> prompt = *std::max_element(prompts.begin(), prompts.end(), longer);
  REQUIRE(prompt.size() == kLongest);
  return prompt;
}

TEST_CASE("a write that fails ends the sweep with its cause, and the engine can go on") {
  SKIP_WITHOUT_SHARED(kModel);
  const ScratchFolder folder;
  const std::vector<int32_t> tokens = LongPrompt();
  std::vector<float> expected, got;
  REQUIRE(LedEngine(Small(), {}).Run(0, tokens, 25, &expected).ok());
  FailingFiles files;
  GateConditions conditions = Spilled(folder);
  conditions.engine.files = &files;
  LedEngine engine(conditions, {});
  int failed = 0;
  for (int n = 1;; ++n) {
    files.fail_next_write = n;
    const absl::Status status = engine.Run(0, tokens, 25, &got);
    if (status.ok()) break;
    ++failed;
    CHECK(absl::IsResourceExhausted(status));
    CHECK((got.empty() || SameBits(got, absl::MakeSpan(expected).first(got.size()))));
  }
  CHECK(SameBits(got, expected));
  CHECK(failed >= 3 * engine->config().layers);
}

TEST_CASE("an interrupt ends a sweep while a read of the spill stalls, and the engine can go on") {
  SKIP_WITHOUT_SHARED(kModel);
  const std::vector<int32_t> tokens = LongPrompt();
  std::vector<float> expected, got;
  REQUIRE(LedEngine(Small(), {}).Run(0, tokens, 25, &expected).ok());
  for (uint64_t n : {1, 2, 3, 7}) {
    const ScratchFolder folder;
    std::atomic<bool> stop{false};
    std::shared_ptr<SpillFaults> faults;
    GateConditions conditions = Spilled(folder);
    conditions.engine.stop = &stop;
    conditions.engine.wrap_reader = [&](std::unique_ptr<BlockReader> reader) {
      faults = std::make_shared<SpillFaults>(std::move(reader), 1, SpillFaults::Script{.stall_from = n});
      return Share(faults);
    };
    LedEngine engine(conditions, {});
    absl::Status status;
    std::thread runner([&] { status = engine.Run(0, tokens, 25, &got); });
    while (faults->stalled() == 0) std::this_thread::yield();
    stop.store(true);
    runner.join();
    CHECK(absl::IsCancelled(status));
    CHECK(got.size() < expected.size());
    faults->EndStall();
    stop.store(false);
    CHECK(engine.Run(0, tokens, 25, &got).ok());
    CHECK(SameBits(got, expected));
  }
}

// In memory and spilled.
std::vector<GateConditions> BothPlaces(const ScratchFolder& folder, KvType type) {
  return {Small(type), Spilled(folder, type)};
}

TEST_CASE("logits are the same whichever blocks a sequence is given") {
  SKIP_WITHOUT_SHARED(kModel);
  const std::vector<int32_t> tokens = LongPrompt();
  for (KvType type : {KvType::kF16, KvType::kQ8_0}) {
    std::vector<float> expected, got;
    REQUIRE(LedEngine(Small(type), {}).Run(0, tokens, 25, &expected).ok());
    const ScratchFolder folder;
    for (const GateConditions& conditions : BothPlaces(folder, type)) {
      LedEngine engine(conditions, {.sequences = 4, .kv_blocks = 9});
      REQUIRE(engine.cache().Reserve(0, 32));
      REQUIRE(engine.cache().Reserve(1, 40));
      REQUIRE(engine.cache().Reserve(2, 64));
      engine.cache().Release(0);
      engine.cache().Release(2);
      REQUIRE(engine.cache().Reserve(3, 110));
      const absl::Span<const int32_t> blocks = engine.cache().blocks(3);
      REQUIRE(std::vector<int32_t>(blocks.begin(), blocks.end()) == std::vector<int32_t>{0, 3, 4, 5});
      CHECK(engine.Run(3, tokens, 25, &got).ok());
      CHECK(SameBits(got, expected));
    }
  }
}

TEST_CASE("logits are the same when documents share their beginning, even as it is computed") {
  SKIP_WITHOUT_SHARED(kModel);
  const std::vector<int32_t> first = LongPrompt();
  std::vector<int32_t> second = first;
  for (size_t i = 64; i < second.size(); ++i) second[i] = first[i] == 7 ? 8 : 7;
  for (KvType type : {KvType::kF16, KvType::kQ8_0}) {
    std::vector<float> expected, expected_second;
    LedEngine plain(Small(type), {.sequences = 2});
    REQUIRE(plain.Run(0, first, 25, &expected).ok());
    REQUIRE(plain.Run(1, second, 25, &expected_second).ok());
    const size_t vocab = plain->config().vocab;
    const absl::Span<const float> want(expected_second);
    const ScratchFolder folder;
    for (const GateConditions& conditions : BothPlaces(folder, type)) {
      LedEngine engine(conditions, {.sequences = 3, .kv_blocks = 8});  // 12 without sharing
      REQUIRE(engine.cache().Reserve(2, 110));
      REQUIRE(engine.cache().Reserve(0, 110, engine.cache().blocks(2).first(2)));
      std::vector<Row> rows;
      std::vector<float> got;
      LedEngine::Append(0, second, 64, 70, &rows);
      LedEngine::Append(2, first, 0, 80, &rows);
      REQUIRE(engine.Sweep(rows, &got).ok());
      CHECK(SameBits(absl::MakeSpan(got).first(6 * vocab), want.subspan(64 * vocab, 6 * vocab)));
      CHECK(SameBits(absl::MakeSpan(got).subspan(6 * vocab), absl::MakeSpan(expected).first(80 * vocab)));
      // The first goes, a third comes, and what they share stays.
      engine.cache().Release(2);
      REQUIRE(engine.cache().Reserve(1, 110, engine.cache().blocks(0).first(2)));
      rows.clear();
      got.clear();
      LedEngine::Append(0, second, 70, 110, &rows);
      LedEngine::Append(1, second, 64, 110, &rows);
      REQUIRE(engine.Sweep(rows, &got).ok());
      CHECK(SameBits(absl::MakeSpan(got).first(40 * vocab), want.subspan(70 * vocab)));
      CHECK(SameBits(absl::MakeSpan(got).subspan(40 * vocab), want.subspan(64 * vocab)));
      CHECK((engine->counters().spill_read_bytes > 0) == conditions.engine.shapes[0].spilled);
    }
  }
}

TEST_CASE("an engine takes over what another one spilled") {
  SKIP_WITHOUT_SHARED(kModel);
  const std::vector<int32_t> tokens = LongPrompt();
  const ScratchFolder folder;
  std::vector<float> expected;
  std::vector<KvBlockChecksum> blocks;
  {
    LedEngine engine(Spilled(folder), {});
    REQUIRE(engine.Run(0, tokens, 25, &expected).ok());
    REQUIRE(engine.cache().sealed_blocks(0) == 3);
    REQUIRE(engine.cache().SyncSpill().ok());
    for (const int32_t block : engine.cache().blocks(0).first(3)) {
      blocks.push_back({block, engine.cache().checksum(block)});
    }
  }
  LedEngine engine(Spilled(folder), {.sequences = 1, .kv_blocks = 4});
  REQUIRE(engine.cache().VerifySpill(blocks).ok());
  REQUIRE(engine.cache().Adopt(0, 110, {{blocks[0].block, blocks[1].block, blocks[2].block}}));
  std::vector<Row> rows;
  std::vector<float> got;
  LedEngine::Append(0, tokens, 96, 110, &rows);
  REQUIRE(engine.Sweep(rows, &got).ok());
  CHECK(SameBits(got, absl::MakeSpan(expected).last(got.size())));
  CHECK(engine->counters().rows == 14);
}

TEST_CASE("mapped files and a spill are refused together, with the cure") {
  SKIP_WITHOUT_SHARED(kModel);
  const ScratchFolder folder;
  GateConditions conditions = Spilled(folder);
  conditions.engine.io = IoBackend::kMmap;
  const absl::Status status = RunPrompts(SharedPath(kModel), Prompts(), conditions).status();
  CHECK(absl::IsInvalidArgument(status));
  CHECK(absl::StrContains(status.message(), "--io auto"));
}

}  // namespace
}  // namespace sluice
