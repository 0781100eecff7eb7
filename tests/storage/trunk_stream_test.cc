#include "storage/trunk_stream.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/storage/test_loader.h"

namespace sluice {
namespace {

constexpr size_t kPieces = 9;
constexpr size_t kHeadBegin = 7;

// Pieces of one or two slices and different lengths, the head's last.
std::vector<Record> MakePieces() {
  std::vector<Record> pieces;
  uint64_t offset = 64;
  for (size_t i = 0; i < kPieces; ++i) {
    Record piece;
    piece.layer = static_cast<int>(i < kHeadBegin ? i / 2 : 4);
    for (size_t slice = 0; slice <= i % 2; ++slice) {
      const uint64_t bytes = 3000 + 1000 * i + 32 * slice;
      piece.slices.push_back({0, offset, bytes});
      offset += bytes + 32;
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

uint64_t FileBytes() {
  const Slice last = MakePieces().back().slices.back();
  return last.offset + last.bytes;
}

struct TrunkTest {
  TestLoader io;
  std::vector<Record> pieces = MakePieces();
  std::unique_ptr<TrunkStream> trunk;  // destroyed before the loader
};

// `pinned`: one letter per piece, 'p' for pinned, 's' for streamed.
TrunkTest MakeTrunk(const ScratchFiles& files, const std::string& pinned, int slots, const FaultScript& script = {}) {
  TrunkTest test;
  RecordLoader::Options options;
  options.chunk_bytes = 4096;
  options.depth = 4;
  test.io = StartFaultyLoader(files, script, options);
  TrunkStream::Options trunk;
  trunk.pieces = test.pieces;
  trunk.head_begin = kHeadBegin;
  for (const char letter : pinned) trunk.pinned.push_back(letter == 'p');
  trunk.stream_slots = slots;
  auto stream = TrunkStream::Create(std::move(trunk), test.io.loader.get());
  REQUIRE_MESSAGE(stream.ok(), stream.status().ToString());
  test.trunk = *std::move(stream);
  return test;
}

bool HoldsCurrent(const TrunkTest& test) {
  const Record& piece = test.pieces[test.trunk->current()];
  for (size_t i = 0; i < piece.slices.size(); ++i) {
    const Slice& slice = piece.slices[i];
    if (MatchingBytes(test.trunk->slice(i), 0, slice.offset, slice.bytes) != slice.bytes) return false;
  }
  return true;
}

void CheckSweep(TrunkTest* test, bool with_head) {
  test->trunk->BeginSweep(with_head);
  for (size_t piece = 0; piece < (with_head ? kPieces : kHeadBegin); ++piece) {
    const absl::Status status = test->trunk->Next();
    REQUIRE_MESSAGE(status.ok(), status.ToString());
    CHECK(test->trunk->current() == piece);
    CHECK(HoldsCurrent(*test));
  }
}

uint64_t StreamedBytes(const TrunkTest& test, const std::string& pinned, size_t end) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < end; ++i) {
    if (pinned[i] == 's') bytes += SlotBytes(test.pieces[i], test.io.loader->alignment_bytes());
  }
  return bytes;
}

TEST_CASE("sweeps of any kind see every piece in order, pinned or streamed, and read each once per sweep") {
  const ScratchFiles files({FileBytes()});
  for (const std::string pinned : {"sssssssss", "ppppppppp", "pppssspps", "spspspspp", "pppppppps", "pppppppss"}) {
    for (const int slots : {2, 3, 20}) {
      FaultScript script;
      script.hold_back = 2;
      TrunkTest test = MakeTrunk(files, pinned, slots, script);
      REQUIRE(test.trunk->LoadPinned(nullptr).ok());
      const uint64_t pinned_read = test.io.loader->counters().bytes_read;
      const bool heads[] = {true, false, false, true, true, false, true, false};
      uint64_t needed = 0;
      for (const bool with_head : heads) {
        CheckSweep(&test, with_head);
        needed += StreamedBytes(test, pinned, with_head ? kPieces : kHeadBegin);
      }
      const uint64_t ahead = StreamedBytes(test, pinned, kHeadBegin);
      TrunkStream* const trunk = test.trunk.get();
      trunk->Cancel();  // waits for what was read ahead
      const uint64_t read = test.io.loader->counters().bytes_read - pinned_read;
      CHECK(read <= needed + ahead);
      CHECK(trunk->streamed_bytes_per_sweep() == StreamedBytes(test, pinned, kPieces));
      CHECK(trunk->streamed_bytes() == needed);
      // The superset of the last piece passes the end of the file: those bytes
      // are needed on paper only.
      if (pinned != "ppppppppp") CHECK(read > needed * 3 / 4);
    }
  }
}

TEST_CASE("reads run ahead across the end of a sweep, but never to a head that was not asked for") {
  const ScratchFiles files({FileBytes()});
  const std::string pinned = "sssssssss";
  TrunkTest test = MakeTrunk(files, pinned, 3);
  test.trunk->BeginSweep(false);
  for (size_t piece = 0; piece < kHeadBegin; ++piece) REQUIRE(test.trunk->Next().ok());
  // The last piece is in use; two pieces of the next sweep are under way. Destroying waits for them.
  test.trunk->Cancel();
  uint64_t most = StreamedBytes(test, pinned, kHeadBegin) + StreamedBytes(test, pinned, 2);
  // What Cancel found waiting it dropped.
  CHECK(test.io.loader->counters().bytes_read <= most);
  const uint64_t before = test.io.loader->counters().bytes_read;
  CheckSweep(&test, true);
  CheckSweep(&test, true);
  test.trunk.reset();
  most = 2 * StreamedBytes(test, pinned, kPieces) + StreamedBytes(test, pinned, 2);
  CHECK(test.io.loader->counters().bytes_read - before <= most);
  CHECK(test.io.loader->counters().bytes_read - before > most - StreamedBytes(test, pinned, 3));
}

TEST_CASE("loading the pinned pieces reports progress up to all of their bytes") {
  const ScratchFiles files({FileBytes()});
  TrunkTest test = MakeTrunk(files, "pppsspppp", 2);
  std::vector<uint64_t> done;
  REQUIRE(test.trunk
              ->LoadPinned([&](uint64_t done_bytes, uint64_t total_bytes) {
                CHECK(total_bytes == test.trunk->pinned_bytes());
                done.push_back(done_bytes);
              })
              .ok());
  REQUIRE_FALSE(done.empty());
  CHECK(std::is_sorted(done.begin(), done.end()));
  CHECK(done.back() == test.trunk->pinned_bytes());
  // The last superset passes the end of the file.
  CHECK(test.io.loader->counters().bytes_read <= test.trunk->pinned_bytes());
  CHECK(test.io.loader->counters().bytes_read > test.trunk->pinned_bytes() - test.io.loader->alignment_bytes());
}

TEST_CASE("an error in a pinned piece names its place") {
  const ScratchFiles files({FileBytes()});
  for (uint64_t number = 1; number <= 12; ++number) {
    FaultScript script;
    script.fail_read = number;
    script.persistent = true;
    TrunkTest test = MakeTrunk(files, "ppppppppp", 0, script);
    const std::string message(test.trunk->LoadPinned(nullptr).message());
    CAPTURE(message);
    CHECK((message.find("trunk of layer ") == 0 || message.find("output head: ") == 0));
    CHECK(message.find(": read of " + files.paths()[0] + " at offset ") != std::string::npos);
    CHECK(message.find(" failed: Input/output error (4 tries)") != std::string::npos);
  }
}

TEST_CASE("an error while streaming ends the sweep at its piece; after cancel sweeps run again") {
  const ScratchFiles files({FileBytes()});
  int head_errors = 0;
  for (uint64_t number = 1; number <= 28; ++number) {
    FaultScript script;
    script.fail_read = number;
    script.persistent = true;
    TrunkTest test = MakeTrunk(files, "sssssssss", 3, script);
    for (int round = 0; round < 2; ++round) {
      test.trunk->BeginSweep(true);
      absl::Status status;
      for (size_t piece = 0; piece < kPieces && status.ok(); ++piece) {
        status = test.trunk->Next();
        if (status.ok()) CHECK(HoldsCurrent(test));
      }
      const std::string message(status.message());
      CAPTURE(message);
      REQUIRE_FALSE(status.ok());
      const Record& piece = test.pieces[test.trunk->current()];
      const bool in_head = test.trunk->current() >= kHeadBegin;
      head_errors += in_head;
      CHECK(message.find(in_head ? "output head: read of "
                                 : "trunk of layer " + std::to_string(piece.layer) + ": read of ") == 0);
      test.trunk->Cancel();
    }
  }
  CHECK(head_errors > 0);
}

TEST_CASE("a single error and short reads change no byte, and a sweep may be cancelled anywhere") {
  const ScratchFiles files({FileBytes()});
  for (uint64_t number = 1; number <= 20; ++number) {
    FaultScript script;
    script.seed = number;
    script.fail_read = number;
    script.shorten_every = 4;
    TrunkTest test = MakeTrunk(files, "spsspssss", 2, script);
    REQUIRE(test.trunk->LoadPinned(nullptr).ok());
    test.trunk->BeginSweep(number % 2 == 0);
    for (uint64_t piece = 0; piece < number % kHeadBegin; ++piece) {
      REQUIRE(test.trunk->Next().ok());
      CHECK(HoldsCurrent(test));
    }
    test.trunk->Cancel();
    CheckSweep(&test, true);
    CheckSweep(&test, false);
    CHECK(test.io.faults->errors() == 1);
    CHECK(test.trunk->stall_ns() > 0);
  }
}

TEST_CASE("one stream slot is refused unless all is pinned") {
  const ScratchFiles files({FileBytes()});
  RecordLoader::Options options;
  TestLoader io = StartFaultyLoader(files, {}, options);
  const auto trunk =
      TrunkStream::Create({MakePieces(), kHeadBegin, std::vector<bool>(kPieces, false), 1}, io.loader.get());
  CHECK(absl::IsInvalidArgument(trunk.status()));
  CHECK(TrunkStream::Create({MakePieces(), kHeadBegin, std::vector<bool>(kPieces, true), 0}, io.loader.get()).ok());
}

TEST_CASE("mapped files are used in place without memory") {
  const ScratchFiles files({FileBytes()});
  TrunkTest test;
  test.io.loader = RecordLoader::Start(OpenOrDie(IoBackend::kMmap, files.paths(), 8), files.paths(), files.sizes(), {});
  auto trunk =
      TrunkStream::Create({MakePieces(), kHeadBegin, std::vector<bool>(kPieces, false), 2}, test.io.loader.get());
  REQUIRE(trunk.ok());
  test.trunk = *std::move(trunk);
  REQUIRE(test.trunk->LoadPinned(nullptr).ok());
  CheckSweep(&test, false);
  CheckSweep(&test, true);
  for (const absl::Span<uint8_t> region : test.trunk->memory_regions()) CHECK(region.empty());
  CHECK(test.trunk->streamed_bytes_per_sweep() == 0);
}

}  // namespace
}  // namespace sluice
