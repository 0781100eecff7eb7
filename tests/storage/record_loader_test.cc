#include "storage/record_loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "storage/forwarding_block_reader.h"
#include "tests/storage/test_loader.h"

namespace sluice {
namespace {

constexpr uint32_t kChunkBytes = 16384;
const std::vector<uint64_t> kSizes = {300000 + 32 * 7, 131072, 70000};

// Slices of several files at offsets that are multiples of 32 only, the last
// ones up to the very ends.
Record SampleRecord() {
  Record record;
  record.slices = {{0, 32, 100000}, {1, 4096, 65536}, {2, 69936, 64}, {0, 200032, kSizes[0] - 200032}, {2, 0, 1}};
  record.layer = 5;
  record.expert = 17;
  return record;
}

RecordLoader::Options SmallChunks() {
  RecordLoader::Options options;
  options.chunk_bytes = kChunkBytes;
  options.depth = 6;
  return options;
}

// Loads the sample once; true when it arrived whole.
bool LoadsSample(RecordLoader* loader, absl::Status* status) {
  const Record record = SampleRecord();
  AlignedBuffer slot = MakeSlot(record, loader->alignment_bytes());
  *status = loader->LoadNow(record, slot.data());
  return status->ok() && HoldsRecord(record, slot.data(), loader->alignment_bytes());
}

uint64_t ReadsOfSample(const ScratchFiles& files) {
  TestLoader test = StartFaultyLoader(files, {}, SmallChunks());
  absl::Status status;
  REQUIRE(LoadsSample(test.loader.get(), &status));
  return test.faults->reads();
}

TEST_CASE("a record arrives whole from every backend with any chunk and depth") {
  const ScratchFiles files(kSizes);
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    for (const uint32_t chunk_bytes : {1u, 5000u, 1u << 20}) {
      for (const int depth : {1, 7}) {
        RecordLoader::Options options;
        options.chunk_bytes = chunk_bytes;
        options.depth = depth;
        auto loader = RecordLoader::Start(OpenOrDie(backend, files.paths(), 8), files.paths(), files.sizes(), options);
        absl::Status status;
        CHECK(LoadsSample(loader.get(), &status));
        CHECK(loader->counters().bytes_read >= 100000 + 65536 + 64 + 100000);
        CHECK(loader->counters().reads >= 5);
        CHECK(loader->counters().busy_ns > 0);
      }
    }
  }
}

TEST_CASE("a single error at any read is retried and changes no byte") {
  const ScratchFiles files(kSizes);
  const uint64_t reads = ReadsOfSample(files);
  REQUIRE(reads > 15);
  for (uint64_t number = 1; number <= reads; ++number) {
    FaultScript script;
    script.fail_read = number;
    TestLoader test = StartFaultyLoader(files, script, SmallChunks());
    absl::Status status;
    CHECK(LoadsSample(test.loader.get(), &status));
    CHECK(test.faults->errors() == 1);
    CHECK(test.faults->reads() == reads + 1);
    CHECK(test.loader->counters().retries == 1);
  }
}

TEST_CASE("a lasting error at any read ends the load with file, offset and tries, and the loader goes on") {
  const ScratchFiles files(kSizes);
  const uint64_t reads = ReadsOfSample(files);
  for (uint64_t number = 1; number <= reads; ++number) {
    FaultScript script;
    script.fail_read = number;
    script.persistent = true;
    TestLoader test = StartFaultyLoader(files, script, SmallChunks());
    absl::Status status;
    CHECK_FALSE(LoadsSample(test.loader.get(), &status));
    CHECK(test.faults->errors() == 4);
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK(status.message() == "read of " + files.paths()[test.faults->failed_file()] + " at offset " +
                                  std::to_string(test.faults->failed_offset()) +
                                  " failed: Input/output error (4 tries)");
    Record other;
    other.slices = {{1, 0, 100}};
    AlignedBuffer slot = MakeSlot(other, test.loader->alignment_bytes());
    const bool lies_there = test.faults->failed_file() == 1 && test.faults->failed_offset() == 0;
    CHECK(test.loader->LoadNow(other, slot.data()).ok() == !lies_there);
  }
}

TEST_CASE("short reads of any length continue where they stopped") {
  const ScratchFiles files(kSizes);
  for (const uint64_t every : {1, 2, 3, 5}) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      FaultScript script;
      script.seed = seed;
      script.shorten_every = every;
      script.hold_back = seed % 3 * 2;
      TestLoader test = StartFaultyLoader(files, script, SmallChunks());
      absl::Status status;
      const bool loaded = LoadsSample(test.loader.get(), &status);
      // Cut every time, a read of one block may never reach the bytes it is for.
      if (every > 1) CHECK(loaded);
      CHECK(test.faults->shortened() > 0);
      CHECK(test.loader->counters().retries == 0);
    }
  }
}

TEST_CASE("completions in any order give the same bytes") {
  const ScratchFiles files(kSizes);
  uint64_t reordered = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    FaultScript script;
    script.seed = seed;
    script.hold_back = 5;
    TestLoader test = StartFaultyLoader(files, script, SmallChunks());
    absl::Status status;
    CHECK(LoadsSample(test.loader.get(), &status));
    reordered += test.faults->reordered();
  }
  CHECK(reordered > 50);
}

TEST_CASE("interrupted and refused-for-now reads are repeated without counting, but not for ever") {
  const ScratchFiles files(kSizes);
  for (const int error : {EINTR, EAGAIN}) {
    for (const bool persistent : {false, true}) {
      FaultScript script;
      script.fail_read = 3;
      script.error = error;
      script.persistent = persistent;
      TestLoader test = StartFaultyLoader(files, script, SmallChunks());
      absl::Status status;
      CHECK(LoadsSample(test.loader.get(), &status) == !persistent);
      CHECK(test.loader->counters().retries == 0);
      CHECK(test.faults->errors() == (persistent ? 1001 : 1));
    }
  }
}

TEST_CASE("a slice beyond the end of its file is refused without a read") {
  const ScratchFiles files(kSizes);
  TestLoader test = StartFaultyLoader(files, {}, SmallChunks());
  const uint64_t offsets[] = {kSizes[1] - 99, kSizes[1] + 4096, UINT64_MAX - 50};
  for (const uint64_t offset : offsets) {
    Record record;
    record.slices = {{1, offset, 100}};
    AlignedBuffer slot = *AlignedBuffer::Create(65536);
    const absl::Status status = test.loader->LoadNow(record, slot.data());
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK(status.message().find(files.paths()[1]) != absl::string_view::npos);
  }
  CHECK(test.faults->reads() == 0);
}

TEST_CASE("a file that was cut after it was opened is reported with the offset where it ends") {
  // On a block boundary a read returns nothing; within a block the same few bytes again and again.
  for (const uint64_t left : {65536, 65536 + 100}) {
    const ScratchFiles files(kSizes);
    RecordLoader::Options options = SmallChunks();
    options.depth = 1;  // else a read further on may be the first to miss its bytes
    TestLoader test = StartFaultyLoader(files, {}, options);
    std::filesystem::resize_file(files.paths()[0], left);
    absl::Status status;
    CHECK_FALSE(LoadsSample(test.loader.get(), &status));
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    const std::string start = "read of " + files.paths()[0] + " stops at offset " + std::to_string(left) + " where";
    CAPTURE(std::string(status.message()));
    CHECK(status.message().substr(0, start.size()) == start);
  }
}

// Remembers the reads and lets none complete before it is told to.
class GatedReader final : public ForwardingBlockReader {
 public:
  explicit GatedReader(std::unique_ptr<BlockReader> reader) : ForwardingBlockReader(std::move(reader)) {}

  absl::string_view name() const override { return "gated"; }
  absl::Status Submit(absl::Span<const BlockRead> reads) override {
    MutexLock lock(&mutex_);
    reads_.insert(reads_.end(), reads.begin(), reads.end());
    most_in_flight_ = std::max(most_in_flight_, in_flight_ += reads.size());
    news_.NotifyAll();
    return reader().Submit(reads);
  }
  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override {
    {
      MutexLock lock(&mutex_);
      while (!open_ && !woken_) news_.Wait(&mutex_);
      woken_ = false;
      if (!open_) return 0;
    }
    auto count = reader().Reap(out);
    MutexLock lock(&mutex_);
    in_flight_ -= *count;
    return count;
  }
  void Wake() override {
    MutexLock lock(&mutex_);
    woken_ = true;
    news_.NotifyAll();
    reader().Wake();
  }

  void Open() {
    MutexLock lock(&mutex_);
    open_ = true;
    news_.NotifyAll();
  }
  void AwaitReads(size_t count) {
    MutexLock lock(&mutex_);
    while (reads_.size() < count) news_.Wait(&mutex_);
  }
  std::vector<BlockRead> reads() {
    MutexLock lock(&mutex_);
    return reads_;
  }
  size_t most_in_flight() {
    MutexLock lock(&mutex_);
    return most_in_flight_;
  }

 private:
  Mutex mutex_;
  CondVar news_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  size_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t most_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<BlockRead> reads_ ABSL_GUARDED_BY(mutex_);
};

struct GatedLoader {
  GatedReader* gate = nullptr;
  std::unique_ptr<RecordLoader> loader;
};

GatedLoader StartGatedLoader(const ScratchFiles& files, const RecordLoader::Options& options) {
  GatedLoader test;
  auto reader = std::make_unique<GatedReader>(OpenOrDie(IoBackend::kPread, files.paths(), 8));
  test.gate = reader.get();
  test.loader = RecordLoader::Start(std::move(reader), files.paths(), files.sizes(), options);
  return test;
}

TEST_CASE("demand overtakes stream, stream overtakes prefetch, chunks go in order within depth") {
  const ScratchFiles files(kSizes);
  GatedLoader test = StartGatedLoader(files, SmallChunks());
  Record records[3];  // by priority; file 0, 1 and 2
  records[0].slices = {{0, 0, 163840}};
  records[1].slices = {{1, 0, 131072}};
  records[2].slices = {{2, 0, 65536}};
  std::vector<AlignedBuffer> slots;
  for (const Record& record : records) slots.push_back(MakeSlot(record, test.loader->alignment_bytes()));
  CountingSink sink;
  // The prefetch alone fills no more than 4 of 6 places; the stream, told next,
  // takes the rest; the demand then goes before what is left of the stream.
  test.loader->Load(&records[2], slots[2].data(), LoadPriority::kPrefetch, &sink, 2);
  test.gate->AwaitReads(4);
  test.loader->Load(&records[1], slots[1].data(), LoadPriority::kStream, &sink, 1);
  test.gate->AwaitReads(6);
  test.loader->Load(&records[0], slots[0].data(), LoadPriority::kDemand, &sink, 0);
  test.gate->Open();
  sink.Await(3);
  std::vector<int> order;
  uint64_t next_offset[3] = {0, 0, 0};
  for (const BlockRead& read : test.gate->reads()) {
    CHECK(read.offset == next_offset[read.file]);
    next_offset[read.file] += read.bytes;
    order.push_back(read.file);
  }
  CHECK(order == std::vector<int>{2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1});
  CHECK(test.gate->most_in_flight() == 6);
  for (int i = 0; i < 3; ++i) CHECK(HoldsRecord(records[i], slots[i].data(), test.loader->alignment_bytes()));
}

TEST_CASE("busy time runs on while a read is in flight and stands still while none is") {
  const ScratchFiles files(kSizes);
  GatedLoader test = StartGatedLoader(files, SmallChunks());
  CHECK(test.loader->counters().busy_ns == 0);
  const Record record = SampleRecord();
  AlignedBuffer slot = MakeSlot(record, test.loader->alignment_bytes());
  CountingSink sink;
  test.loader->Load(&record, slot.data(), LoadPriority::kDemand, &sink, 0);
  test.gate->AwaitReads(6);
  const int64_t before_ns = test.loader->counters().busy_ns;
  for (const int64_t start_ns = NowNs(); NowNs() < start_ns + 2000000;) std::this_thread::yield();
  CHECK(test.loader->counters().busy_ns >= before_ns + 2000000);
  CHECK(test.loader->counters().reads == 0);
  test.gate->Open();
  sink.Await(1);
  const IoCounters after = test.loader->counters();
  CHECK(after.asked_ns >= after.busy_ns);
  for (const int64_t start_ns = NowNs(); NowNs() < start_ns + 1000000;) std::this_thread::yield();
  CHECK(test.loader->counters().busy_ns == after.busy_ns);
  CHECK(test.loader->counters().asked_ns == after.asked_ns);
}

TEST_CASE("time in which a needed read waits behind guesses is asked for, not busy") {
  const ScratchFiles files(kSizes);
  RecordLoader::Options options = SmallChunks();
  options.depth = options.prefetch_depth = 2;
  GatedLoader test = StartGatedLoader(files, options);
  const Record record = SampleRecord();
  AlignedBuffer guessed = MakeSlot(record, test.loader->alignment_bytes());
  AlignedBuffer needed = MakeSlot(record, test.loader->alignment_bytes());
  CountingSink sink;
  test.loader->Load(&record, guessed.data(), LoadPriority::kPrefetch, &sink, 0);
  test.gate->AwaitReads(2);
  CHECK(test.loader->counters().asked_ns == 0);
  test.loader->Load(&record, needed.data(), LoadPriority::kDemand, &sink, 1);
  for (const int64_t start_ns = NowNs(); NowNs() < start_ns + 2000000;) std::this_thread::yield();
  const IoCounters waiting = test.loader->counters();
  CHECK(waiting.asked_ns >= 2000000);
  CHECK(waiting.busy_ns == 0);
  test.gate->Open();
  sink.Await(2);
}

TEST_CASE("closing answers every load once: begun ones after their reads, waiting ones as cancelled") {
  const ScratchFiles files(kSizes);
  CountingSink sink;
  const Record record = SampleRecord();
  constexpr uint64_t kLoads = 3000;  // more than the queue begins with
  GatedLoader test = StartGatedLoader(files, SmallChunks());
  std::vector<AlignedBuffer> slots;  // enough for those that are read at the same time
  for (int n = 0; n < 32; ++n) slots.push_back(MakeSlot(record, test.loader->alignment_bytes()));
  for (uint64_t i = 0; i < kLoads; ++i) {
    test.loader->Load(&record, slots[i % 32].data(), static_cast<LoadPriority>(i % 3), &sink, i);
  }
  test.gate->AwaitReads(6);
  CHECK(sink.answers() == 0);
  std::thread opener([gate = test.gate] { gate->Open(); });
  test.loader.reset();
  opener.join();
  CHECK(sink.answers() == kLoads);
  uint64_t cancelled = 0;
  for (uint64_t i = 0; i < kLoads; ++i) {
    CHECK(sink.AnswersTo(i) == 1);
    if (absl::IsCancelled(sink.StatusOf(i))) ++cancelled;
  }
  CHECK(cancelled >= kLoads - 20);
}

TEST_CASE("discard ends the waiting loads of one sink and leaves the others") {
  const ScratchFiles files(kSizes);
  GatedLoader test = StartGatedLoader(files, SmallChunks());
  const Record record = SampleRecord();
  std::vector<AlignedBuffer> slots;
  for (int n = 0; n < 6; ++n) slots.push_back(MakeSlot(record, test.loader->alignment_bytes()));
  CountingSink kept;
  CountingSink dropped;
  test.loader->Load(&record, slots[0].data(), LoadPriority::kDemand, &dropped, 0);
  test.gate->AwaitReads(6);
  for (uint64_t i = 1; i <= 5; ++i) {
    test.loader->Load(&record, slots[0].data(), LoadPriority::kDemand, &dropped, i);
    test.loader->Load(&record, slots[i].data(), LoadPriority::kDemand, &kept, i);
  }
  test.loader->Discard(&dropped);
  test.gate->Open();
  kept.Await(5);
  dropped.Await(6);
  CHECK(dropped.StatusOf(0).ok());
  for (uint64_t i = 1; i <= 5; ++i) {
    CHECK(absl::IsCancelled(dropped.StatusOf(i)));
    CHECK(kept.StatusOf(i).ok());
  }
}

TEST_CASE("a reader that breaks fails what is under way, what waits and what comes later") {
  const ScratchFiles files(kSizes);
  const Record record = SampleRecord();
  for (const bool at_submit : {true, false}) {
    FaultScript script;
    (at_submit ? script.break_submit : script.break_reap) = 4;
    TestLoader test = StartFaultyLoader(files, script, SmallChunks());
    std::vector<AlignedBuffer> slots;
    for (int n = 0; n < 11; ++n) slots.push_back(MakeSlot(record, test.loader->alignment_bytes()));
    CountingSink sink;
    for (uint64_t i = 0; i < 10; ++i) test.loader->Load(&record, slots[i].data(), LoadPriority::kStream, &sink, i);
    sink.Await(10);
    CHECK(absl::IsUnavailable(sink.StatusOf(9)));
    for (int i = 0; i < 3; ++i) CHECK(absl::IsUnavailable(test.loader->LoadNow(record, slots[10].data())));
    const int64_t busy_ns = test.loader->counters().busy_ns;
    CHECK(test.loader->counters().busy_ns == busy_ns);
  }
}

TEST_CASE("a sink may queue the next load") {
  class Chain final : public LoadSink {
   public:
    void OnLoaded(uint64_t token, absl::Status status) override {
      if (token > 0 && status.ok()) return loader->Load(record, slot, LoadPriority::kDemand, this, token - 1);
      end.OnLoaded(token, std::move(status));
    }
    RecordLoader* loader;
    const Record* record;
    uint8_t* slot;
    CountingSink end;
  };
  const ScratchFiles files(kSizes);
  TestLoader test = StartFaultyLoader(files, {}, SmallChunks());
  const Record record = SampleRecord();
  AlignedBuffer slot = MakeSlot(record, test.loader->alignment_bytes());
  Chain chain;
  chain.loader = test.loader.get();
  chain.record = &record;
  chain.slot = slot.data();
  test.loader->Load(&record, slot.data(), LoadPriority::kDemand, &chain, 20);
  chain.end.Await(1);
  CHECK(chain.end.StatusOf(0).ok());
}

TEST_CASE("many threads may load at once") {
  const ScratchFiles files(kSizes);
  TestLoader test = StartFaultyLoader(files, {}, SmallChunks());
  std::vector<std::thread> threads;
  std::vector<absl::Status> statuses(4);
  for (size_t t = 0; t < statuses.size(); ++t) {
    threads.emplace_back([&, t] {
      const Record record = SampleRecord();
      AlignedBuffer slot = *AlignedBuffer::Create(SlotBytes(record, test.loader->alignment_bytes()));
      for (int i = 0; i < 20 && statuses[t].ok(); ++i) {
        statuses[t] = test.loader->LoadNow(record, slot.data());
        if (!HoldsRecord(record, slot.data(), test.loader->alignment_bytes())) {
          statuses[t].Update(absl::InternalError("wrong bytes"));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) CHECK(status.ok());
}

TEST_CASE("mapped files need no slot and are used in place") {
  const ScratchFiles files(kSizes);
  auto loader = RecordLoader::Start(OpenOrDie(IoBackend::kMmap, files.paths(), 8), files.paths(), files.sizes(), {});
  const Record record = SampleRecord();
  CHECK(loader->LoadNow(record, nullptr).ok());
  CHECK(loader->counters().reads == 0);
  for (const Slice& slice : record.slices) {
    CHECK(MatchingBytes(loader->Mapped(slice), slice.file, slice.offset, slice.bytes) == slice.bytes);
  }
  Record beyond;
  beyond.slices = {{2, 69999, 2}};
  CHECK_FALSE(loader->LoadNow(beyond, nullptr).ok());
}

TEST_CASE("a record without slices is loaded at once, and registration changes no byte") {
  const ScratchFiles files(kSizes);
  TestLoader test = StartFaultyLoader(files, {}, SmallChunks());
  const Record record = SampleRecord();
  AlignedBuffer slot = MakeSlot(record, test.loader->alignment_bytes());
  test.loader->RegisterMemory({{slot.data(), slot.size_bytes()}});
  CHECK(test.loader->LoadNow(Record(), slot.data()).ok());
  CHECK(test.loader->LoadNow(record, slot.data()).ok());
  CHECK(HoldsRecord(record, slot.data(), test.loader->alignment_bytes()));
  test.loader->RegisterMemory({});
}

}  // namespace
}  // namespace sluice
