// A drive that stops answering: the run waits, ends when it is told to, and no bit changes.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "storage/faulty_block_reader.h"
#include "tests/gates/harness.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

const char kModel[] = "golden/deepseek2-mla-q8_0/model.gguf";
const std::vector<std::vector<int32_t>> kPrompts = {{5, 6, 7, 8, 9}};

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// An engine whose drive stalls at the n-th read, 0 for never, and a place for its logits.
class StallingRun {
 public:
  explicit StallingRun(uint64_t stall_read, bool prefetch = true) {
    FaultScript script;
    script.stall_read = stall_read;
    options_.ram_bytes = uint64_t{1} << 30;
    options_.threads = 1;
    options_.io = IoBackend::kPread;
    options_.context = 5;
    options_.sweep_rows = 2;
    options_.logits_rows = 2;
    options_.max_class_slots = 5;
    options_.max_pinned_pieces = 3;
    options_.prefetch = prefetch;
    options_.stop = &stop;
    options_.wrap_reader = [this, script](std::unique_ptr<BlockReader> reader) {
      auto faulty = std::make_shared<FaultyBlockReader>(std::move(reader), script);
      MutexLock lock(&mutex_);
      reader_ = faulty;
      return Share(faulty);
    };
  }

  absl::Status Open() {
    ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(SharedPath(kModel)));
    ASSIGN_OR_RETURN(engine, Engine::Create(std::move(files), options_));
    return absl::OkStatus();
  }

  absl::Status RunPrompts() {
    logits.clear();
    std::vector<PromptJob> jobs;
    for (const auto& tokens : kPrompts) jobs.push_back({tokens, /*wants_last=*/true, /*wants_all=*/true});
    PromptScheduler scheduler(engine.get(), 2);
    return scheduler.Run(jobs, [&](size_t, int64_t, absl::Span<const float> row) {
      logits.insert(logits.end(), row.begin(), row.end());
    });
  }

  // Null until the engine has opened its files.
  std::shared_ptr<FaultyBlockReader> reader() const {
    MutexLock lock(&mutex_);
    return reader_;
  }
  void AwaitStall() const {
    while (reader() == nullptr || reader()->stalled_reads() == 0) std::this_thread::yield();
  }

  std::atomic<bool> stop{false};
  std::unique_ptr<Engine> engine;
  std::vector<float> logits;

 private:
  EngineOptions options_;
  mutable Mutex mutex_;
  std::shared_ptr<FaultyBlockReader> reader_ ABSL_GUARDED_BY(mutex_);
};

struct Baseline {
  std::vector<float> logits;
  uint64_t load_reads = 0;  // while the engine was made
  uint64_t reads = 0;
};

Baseline RunWithoutStall() {
  StallingRun run(0);
  REQUIRE(run.Open().ok());
  Baseline baseline;
  baseline.load_reads = run.reader()->reads();
  REQUIRE(run.RunPrompts().ok());
  baseline.logits = run.logits;
  baseline.reads = run.reader()->reads();
  REQUIRE(baseline.load_reads > 10);
  REQUIRE(baseline.reads > baseline.load_reads + 100);
  return baseline;
}

TEST_CASE("a drive that stalls at any read is waited for and changes no bit") {
  SKIP_WITHOUT_SHARED(kModel);
  const Baseline baseline = RunWithoutStall();
  // Up to a few that may be read ahead for nobody.
  for (uint64_t n = 1; n <= baseline.reads * 9 / 10; n += 23) {
    CAPTURE(n);
    StallingRun run(n, /*prefetch=*/n % 2 == 0);
    absl::Status status;
    std::atomic<bool> ended{false};
    std::thread runner([&] {
      status = run.Open();
      if (status.ok()) status = run.RunPrompts();
      ended.store(true);
    });
    run.AwaitStall();
    for (int look = 0; look < 100; ++look) std::this_thread::yield();
    CHECK_FALSE(ended.load());
    run.reader()->EndStall();
    runner.join();
    CHECK_MESSAGE(status.ok(), status.ToString());
    CHECK(SameBits(run.logits, baseline.logits));
  }
}

TEST_CASE("an interrupt ends a sweep though the drive stalls, and the engine can go on when the drive does") {
  SKIP_WITHOUT_SHARED(kModel);
  const Baseline baseline = RunWithoutStall();
  for (uint64_t n = baseline.load_reads + 1; n <= baseline.reads * 9 / 10; n += 11) {
    CAPTURE(n);
    StallingRun run(n, /*prefetch=*/n % 2 == 0);
    REQUIRE(run.Open().ok());
    absl::Status status;
    std::thread runner([&] { status = run.RunPrompts(); });
    run.AwaitStall();
    run.stop.store(true);
    runner.join();
    CHECK(absl::IsCancelled(status));
    CHECK(run.reader()->stalled_reads() > 0);
    run.reader()->EndStall();
    run.stop.store(false);
    status = run.RunPrompts();
    CHECK_MESSAGE(status.ok(), status.ToString());
    CHECK(SameBits(run.logits, baseline.logits));
  }
}

}  // namespace
}  // namespace sluice
