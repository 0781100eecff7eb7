#include "src/model/spilled_kv.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "src/model/kv_cache.h"
#include "storage/faulty_block_reader.h"
#include "tests/scratch_folder.h"
#include "tests/src/model/tiny_model.h"
#include "tests/storage/failing_file.h"

namespace sluice {
namespace {

constexpr int kLayers = 5;
constexpr int kSequences = 6;
constexpr int64_t kWidth = 45;
constexpr int64_t kContext = 300;
constexpr int kAllIsWell = kLayers + 1;

// A spilled cache with its file and its reader.
class Rig {
 public:
  Rig(const std::string& path, const KvCache::Shape& shape, const FaultScript& script = {}) {
    const std::unique_ptr<DurableFiles> files = HostFiles();
    auto file = files->OpenBlocks(path, KvCache::SpillBytes(shape));
    REQUIRE_MESSAGE(file.ok(), file.status().ToString());
    auto reader = OpenBlockReader(IoBackend::kPread, {path}, 8);
    REQUIRE_MESSAGE(reader.ok(), reader.status().ToString());
    auto faulty = std::make_unique<FaultyBlockReader>(*std::move(reader), script);
    reader_ = faulty.get();
    loader_ = RecordLoader::Start(std::move(faulty), {path}, {RecordLoader::kGrows}, {16384, 4, 3});
    KvSpill::Source source;
    source.loader = loader_.get();
    source.stop = &stop;
    source.writer = std::make_unique<FailingFile>(*std::move(file), &fail_next_write);
    auto cache = KvCache::Create(shape, &BestKernelSet().ops, std::move(source));
    REQUIRE_MESSAGE(cache.ok(), cache.status().ToString());
    cache_ = std::make_unique<KvCache>(*std::move(cache));
  }
  KvCache* operator->() { return cache_.get(); }
  KvCache& cache() { return *cache_; }
  uint64_t memory_bytes() const { return cache_->memory_bytes(); }
  FaultyBlockReader& reader() { return *reader_; }

  std::atomic<bool> stop{false};
  std::atomic<int> fail_next_write{0};  // counted from 1

 private:
  std::unique_ptr<RecordLoader> loader_;
  FaultyBlockReader* reader_ = nullptr;  // of the loader
  std::unique_ptr<KvCache> cache_;
};

KvCache::Shape SpilledShape(KvType type, int64_t blocks = 40) {
  return {type, kLayers, kSequences, kContext, kWidth, blocks, /*spilled=*/true};
}

// Of a sweep: positions [begin, end) of a sequence.
struct Part {
  int sequence = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

// What each sequence's positions ought to hold.
class Expectation {
 public:
  Expectation() : versions_(kSequences, std::vector<uint64_t>(kContext)) {}

  std::vector<float> Row(int layer, int sequence, int64_t position) const {
    return TestNumbers(versions_[sequence][position] * 1000003 + position * 101 + layer).Many(kWidth);
  }
  void Renew(const Part& part) {
    ++version_;
    for (int64_t i = part.begin; i < part.end; ++i) versions_[part.sequence][i] = version_;
  }
  void Share(int from, int to, int64_t positions) {
    std::copy_n(versions_[from].begin(), positions, versions_[to].begin());
  }

 private:
  uint64_t version_ = 0;
  std::vector<std::vector<uint64_t>> versions_;
};

// Runs the attention of a sweep: writes all rows of a layer, then looks at all that came before.
class Sweeper {
 public:
  Sweeper(KvCache* cache, const Expectation* expected, KvType type) : cache_(cache), expected_(expected) {
    auto rounding = KvCache::Create({type, 1, 1, 1, kWidth}, &BestKernelSet().ops);
    REQUIRE(rounding.ok());
    rounding_ = std::make_unique<KvCache>(*std::move(rounding));
  }

  // Ends before `end_layer`, or behind the last one, as a sweep does whose weights cannot be read.
  absl::Status Run(const std::vector<Part>& parts, int end_layer = kAllIsWell) {
    std::vector<sluice::Row> rows;
    std::vector<SequenceRun> runs;
    for (const Part& part : parts) {
      const int64_t first = static_cast<int64_t>(rows.size());
      for (int64_t i = part.begin; i < part.end; ++i) rows.push_back({part.sequence, i});
      // In two runs, as rows that are given and generated are.
      const int64_t last = static_cast<int64_t>(rows.size()), middle = (first + last) / 2;
      if (middle > first) runs.push_back({part.sequence, false, first, middle});
      runs.push_back({part.sequence, true, middle, last});
    }
    cache_->BeginSweep({rows, runs, nullptr});
    const absl::Status status = RunLayers(parts, std::min(end_layer, kLayers));
    if (status.ok() && end_layer == kAllIsWell) {
      cache_->EndSweep();
    } else {
      cache_->Cancel();
    }
    return status;
  }

 private:
  absl::Status RunLayers(const std::vector<Part>& parts, int end_layer) {
    for (int layer = 0; layer < end_layer; ++layer) {
      RETURN_IF_ERROR(cache_->BeginLayer(layer));
      for (const Part& part : parts) {
        for (int64_t i = part.begin; i < part.end; ++i) {
          cache_->Write(layer, part.sequence, i, expected_->Row(layer, part.sequence, i).data());
        }
      }
      for (const Part& part : parts) Look(layer, part);
      RETURN_IF_ERROR(cache_->EndLayer(layer));
    }
    return absl::OkStatus();
  }

  void Look(int layer, const Part& part) {
    std::vector<float> got(part.end * kWidth), want(kWidth);
    cache_->Read(layer, part.sequence, 0, part.end, got.data());
    for (int64_t i = 0; i < part.end; ++i) {
      rounding_->Write(0, 0, 0, expected_->Row(layer, part.sequence, i).data());
      rounding_->Read(0, 0, 0, 1, want.data());
      REQUIRE_MESSAGE(std::memcmp(want.data(), got.data() + i * kWidth, kWidth * sizeof(float)) == 0,
                      "layer " << layer << " sequence " << part.sequence << " position " << i);
    }
  }

  KvCache* cache_;
  const Expectation* expected_;
  std::unique_ptr<KvCache> rounding_;
};

// A life of sequences chosen at random: they come, share, go on, go back, go; sweeps fail at any layer.
class RandomLife {
 public:
  RandomLife(KvCache* cache, KvType type, uint64_t seed)
      : cache_(cache),
        sweeper_(cache, &expected_, type),
        random_(seed),
        lengths_(kSequences, kGone),
        floors_(kSequences) {}

  void Step() {
    MaybeRelease();
    MaybeBegin();
    std::vector<Part> parts = Compose();
    if (parts.empty()) return;
    for (const Part& part : parts) expected_.Renew(part);
    const bool shares = ShareFrom(&parts);
    while (random_.Below(4) == 0) {
      REQUIRE(sweeper_.Run(parts, static_cast<int>(random_.Below(kLayers + 1))).ok());
      ++failed;
      // Sequences go on from where they were, together or not, unless one waits for another.
      for (const Part& part : parts) lengths_[part.sequence] = part.begin;
      if (!shares && random_.Below(2) == 0) return;
    }
    REQUIRE(sweeper_.Run(parts).ok());
    for (const Part& part : parts) {
      lengths_[part.sequence] = part.end;
      REQUIRE(cache_->sealed_blocks(part.sequence) == part.end / kKvBlockTokens);
    }
  }

  int failed = 0, shared = 0, went_back = 0;

 private:
  static constexpr int64_t kGone = -1;

  bool SharesNothing(int sequence) const {
    for (int other = 0; other < kSequences; ++other) {
      if (other == sequence || cache_->blocks(other).empty()) continue;
      if (cache_->blocks(other)[0] == cache_->blocks(sequence)[0]) return false;
    }
    return true;
  }
  int FreeSequence() const {
    for (int s = 0; s < kSequences; ++s) {
      if (lengths_[s] == kGone) return s;
    }
    return -1;
  }
  void MaybeRelease() {
    const int s = static_cast<int>(random_.Below(kSequences));
    if (lengths_[s] == kGone || random_.Below(6) != 0) return;
    cache_->Release(s);
    lengths_[s] = kGone;
  }
  void MaybeBegin() {
    const int s = FreeSequence();
    if (s < 0 || random_.Below(2) == 0) return;
    if (cache_->Reserve(s, 1 + static_cast<int64_t>(random_.Below(kContext)))) lengths_[s] = floors_[s] = 0;
  }
  std::vector<Part> Compose() {
    std::vector<Part> parts;
    for (int s = 0; s < kSequences; ++s) {
      if (lengths_[s] == kGone || random_.Below(4) == 0) continue;
      int64_t begin = lengths_[s];
      if (begin > floors_[s] && random_.Below(12) == 0 && SharesNothing(s)) {
        begin = floors_[s] + static_cast<int64_t>(random_.Below(begin - floors_[s]));
        ++went_back;
      }
      const int64_t most = random_.Below(3) == 0 ? 90 : 3;
      const int64_t end = std::min(cache_->capacity(s), begin + 1 + static_cast<int64_t>(random_.Below(most)));
      if (end > begin) parts.push_back({s, begin, end});
    }
    return parts;
  }
  // A new sequence on what one of the sweep will have written, in front of it or behind.
  bool ShareFrom(std::vector<Part>* parts) {
    const int s = FreeSequence();
    if (s < 0) return false;
    const Part from = (*parts)[random_.Below(parts->size())];
    const int64_t blocks = from.end / kKvBlockTokens, begin = blocks * kKvBlockTokens;
    const bool goes_back = from.begin < lengths_[from.sequence];
    if (blocks == 0 || begin >= kContext || goes_back) return false;
    const int64_t room = std::min(kContext, begin + 40);
    if (!cache_->Reserve(s, room, cache_->blocks(from.sequence).first(blocks))) return false;
    ++shared;
    expected_.Share(from.sequence, s, begin);
    const Part part{s, begin, begin + 1 + static_cast<int64_t>(random_.Below(room - begin))};
    floors_[s] = begin;
    expected_.Renew(part);
    parts->insert(parts->begin() + static_cast<int64_t>(random_.Below(parts->size() + 1)), part);
    return true;
  }

  KvCache* cache_;
  Expectation expected_;
  Sweeper sweeper_;
  TestNumbers random_;
  std::vector<int64_t> lengths_;
  std::vector<int64_t> floors_;  // what others wrote for the sequence
};

TEST_CASE("what was written comes back from tails, drive and neighbours, whatever fails on the way") {
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    for (uint64_t seed = 1; seed <= 6; ++seed) {
      CAPTURE(seed);
      const ScratchFolder folder;
      FaultScript script;
      script.seed = seed;
      script.hold_back = 3;
      script.shorten_every = 5;
      Rig rig(folder.Path("spill"), SpilledShape(type), script);
      RandomLife life(&rig.cache(), type, seed);
      for (int step = 0; step < 100; ++step) life.Step();
      CHECK(rig->spill_bytes_read() > 1 << 20);
      CHECK(rig->spill_bytes_written() > 1 << 18);
      CHECK(rig.reader().shortened() > 0);
      CHECK(life.failed > 5);
      CHECK(life.shared > 2);
      CHECK(life.went_back > 1);
    }
  }
}

// One sequence of 70 positions, two blocks of them on the drive.
struct Filled {
  Expectation expected;
  Part part{2, 0, 70};

  void Fill(Rig* rig) {
    REQUIRE((*rig)->Reserve(2, 200));
    expected.Renew(part);
    Sweeper sweeper(&rig->cache(), &expected, KvType::kF16);
    REQUIRE(sweeper.Run({part}).ok());
  }
  // The rows behind.
  Part Next(int64_t count) {
    const Part next{part.sequence, part.end, part.end + count};
    expected.Renew(next);
    part.end = next.end;
    return next;
  }
};

TEST_CASE("a write that fails is told, and the sweep can be run again") {
  const ScratchFolder folder;
  Rig rig(folder.Path("spill"), SpilledShape(KvType::kF16));
  Filled filled;
  filled.Fill(&rig);
  const Part next = filled.Next(60);
  Sweeper sweeper(&rig.cache(), &filled.expected, KvType::kF16);
  for (int layer = 0; layer < kLayers; ++layer) {
    rig.fail_next_write = layer + 1;
    CHECK(absl::IsResourceExhausted(sweeper.Run({next})));
    CHECK(rig->sealed_blocks(2) == 2);
  }
  CHECK(sweeper.Run({next}).ok());
  CHECK(rig->sealed_blocks(2) == 4);
  CHECK(sweeper.Run({filled.Next(1)}).ok());
}

TEST_CASE("a read that fails once is tried again, one that fails for good ends the sweep with its place") {
  for (bool persistent : {false, true}) {
    const ScratchFolder folder;
    FaultScript script;
    script.fail_read = 3;  // of layer 2
    script.persistent = persistent;
    Rig rig(folder.Path("spill"), SpilledShape(KvType::kF16), script);
    Filled filled;
    filled.Fill(&rig);
    REQUIRE(rig.reader().reads() == 0);
    Sweeper sweeper(&rig.cache(), &filled.expected, KvType::kF16);
    const absl::Status status = sweeper.Run({filled.Next(1)});
    CHECK(rig.reader().errors() > 0);
    CHECK(status.ok() == !persistent);
    if (persistent) CHECK(std::string(status.message()).find("spilled keys and values of layer 2") == 0);
    if (persistent) CHECK(std::string(status.message()).find(folder.Path("spill")) != std::string::npos);
  }
}

TEST_CASE("a drive that stalls is waited for until the stop flag is raised, and the sweep can be run again") {
  const ScratchFolder folder;
  FaultScript script;
  script.stall_read = 2;
  Rig rig(folder.Path("spill"), SpilledShape(KvType::kF16), script);
  Filled filled;
  filled.Fill(&rig);
  const Part next = filled.Next(5);
  std::vector<sluice::Row> rows;
  for (int64_t i = next.begin; i < next.end; ++i) rows.push_back({next.sequence, i});
  const SequenceRun run{next.sequence, false, 0, 5};
  rig->BeginSweep({rows, {&run, 1}, nullptr});
  std::thread stopper([&] {
    while (rig.reader().stalled_reads() == 0) std::this_thread::yield();
    rig.stop.store(true);
  });
  CHECK(absl::IsCancelled(rig->BeginLayer(1)));
  stopper.join();
  CHECK(rig->stall_ns() > 0);
  rig.reader().EndStall();
  rig->Cancel();
  rig.stop.store(false);
  Sweeper sweeper(&rig.cache(), &filled.expected, KvType::kF16);
  CHECK(sweeper.Run({next}).ok());
}

TEST_CASE("another process adopts sound blocks, shared ones too, and refuses the rest") {
  const ScratchFolder folder;
  const KvCache::Shape shape = SpilledShape(KvType::kF16);
  Filled filled;
  std::vector<KvBlockChecksum> blocks;
  {
    Rig rig(folder.Path("spill"), shape);
    REQUIRE(rig->Reserve(0, 40));  // others lie in front
    filled.Fill(&rig);
    REQUIRE(rig->sealed_blocks(2) == 2);
    REQUIRE(rig->SyncSpill().ok());
    for (const int32_t block : rig->blocks(2).first(2)) blocks.push_back({block, rig->checksum(block)});
  }
  std::vector<int32_t> ids = {blocks[0].block, blocks[1].block};
  {
    // Those who come first leave them to whom they are for.
    Rig rig(folder.Path("spill"), shape);
    for (const int32_t id : ids) rig->TakeLast(id);
    REQUIRE(rig->Reserve(0, 200));
    REQUIRE(rig->Reserve(1, 200));
    CHECK(rig->blocks(1)[0] > ids[1]);
    REQUIRE(rig->VerifySpill(blocks).ok());
    CHECK(rig->Adopt(2, 200, ids));
  }
  {
    Rig rig(folder.Path("spill"), shape);
    CHECK_FALSE(rig->Adopt(2, 200, ids));  // not known to be sound
    REQUIRE(rig->VerifySpill(blocks).ok());
    // They are taken last by those who want any block.
    REQUIRE(rig->Reserve(1, 200));
    REQUIRE(rig->Adopt(2, 200, ids));
    REQUIRE(rig->Adopt(4, 100, ids));
    CHECK(rig->sealed_blocks(2) == 2);
    CHECK(rig->checksum(ids[1]) == blocks[1].checksum);
    filled.part.end = 64;
    const Part next = filled.Next(40);
    filled.expected.Share(2, 4, 64);
    const Part other{4, 64, 80};
    filled.expected.Renew(other);
    Sweeper sweeper(&rig.cache(), &filled.expected, KvType::kF16);
    CHECK(sweeper.Run({next, other}).ok());
    CHECK(rig->spill_bytes_read() >= 2 * KvCache::SpillBytes(shape) / static_cast<uint64_t>(shape.blocks) * 2);
  }
  std::fstream(folder.Path("spill"), std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(KvCache::SpillBytes(shape) / kLayers * 3 +
                                         KvCache::SpillBytes(shape) / kLayers / 40 * ids[1] + 5))
      .put('!');
  Rig rig(folder.Path("spill"), shape);
  CHECK(absl::IsDataLoss(rig->VerifySpill(blocks)));
  CHECK(rig->VerifySpill({&blocks[0], 1}).ok());
  CHECK_FALSE(rig->Adopt(2, 200, ids));
  CHECK(absl::IsDataLoss(rig->VerifySpill({{40, 1}})));
  CHECK(absl::IsDataLoss(rig->VerifySpill({{-1, 1}})));
}

TEST_CASE("what is planned for a spilled cache is what is allocated") {
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    for (int64_t blocks : {0, 1, 7, 40}) {
      const ScratchFolder folder;
      const KvCache::Shape shape = SpilledShape(type, blocks);
      const Rig rig(folder.Path("spill"), shape);
      CHECK(rig.memory_bytes() == KvCache::TotalBytes(shape));
      CHECK(std::filesystem::file_size(folder.Path("spill")) == KvCache::SpillBytes(shape));
    }
  }
  KvCache::Shape shape = SpilledShape(KvType::kF16);
  shape.layers = 61;
  const uint64_t spilled_bytes = KvCache::TotalBytes(shape);
  shape.spilled = false;
  CHECK(KvCache::SpillBytes(shape) == 0);
  CHECK(spilled_bytes < KvCache::TotalBytes(shape) / 3);
  const KvCache::Shape absurd{KvType::kF32, 4096, 65536, int64_t{1} << 30, 1 << 21, 0, true};
  CHECK(KvCache::TotalBytes(absurd) == UINT64_MAX);
  CHECK(KvCache::SpillBytes(absurd) == UINT64_MAX);
}

}  // namespace
}  // namespace sluice
