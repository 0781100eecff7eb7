#include "storage/record_log.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "storage/packed_fields.h"
#include "tests/scratch_folder.h"
#include "tests/storage/crashing_files.h"
#include "tests/storage/memory_files.h"

namespace sluice {
namespace {

constexpr char kPath[] = "job/log";

RecordLogFormat Format() {
  RecordLogFormat format;
  format.magic = "TESTLOG1";
  format.version = 3;
  format.name = "a log";
  format.cure = "delete it";
  return format;
}

struct Found {
  absl::Status status;
  std::vector<std::string> records;  // "type:payload"
  uint64_t torn_bytes = 0;
};

Found ReadLog(DurableFiles* files, const std::string& path) {
  Found found;
  const auto torn = RecordLog::Read(files, path, Format(), [&](uint32_t type, absl::string_view payload) {
    found.records.push_back(std::to_string(type) + ":" + std::string(payload));
    return absl::OkStatus();
  });
  found.status = torn.status();
  if (torn.ok()) found.torn_bytes = *torn;
  return found;
}

std::unique_ptr<RecordLog> CreateOrDie(DurableFiles* files, const std::string& path = kPath) {
  auto log = RecordLog::Create(files, path, Format());
  REQUIRE_MESSAGE(log.ok(), log.status().ToString());
  return *std::move(log);
}

// Two sealed records, two synced together, and one that was written but not synced.
struct Sample {
  MemoryFiles files;
  uint64_t sealed_bytes = 0;
  uint64_t synced_bytes = 0;
  std::vector<std::string> records = {"1:who", "2:sealed", "3:", "4:synced later", "5:never synced"};

  Sample() {
    auto log = CreateOrDie(&files);
    REQUIRE(log->Append(1, "who").ok());
    REQUIRE(log->Append(2, "sealed").ok());
    REQUIRE(log->Seal().ok());
    sealed_bytes = bytes().size();
    REQUIRE(log->Append(3, "").ok());
    REQUIRE(log->Append(4, "synced later").ok());
    REQUIRE(log->Sync().ok());
    synced_bytes = bytes().size();
    REQUIRE(log->Append(5, "never synced").ok());
    files.sync_fails = true;
    REQUIRE_FALSE(log->Sync().ok());
  }
  std::string& bytes() { return files.bytes(kPath); }
};

bool IsPrefix(const std::vector<std::string>& prefix, const std::vector<std::string>& whole) {
  return prefix.size() <= whole.size() && std::equal(prefix.begin(), prefix.end(), whole.begin());
}

TEST_CASE("records come back in their order, those of before and those of after the seal") {
  Sample sample;
  const Found found = ReadLog(&sample.files, kPath);
  REQUIRE_MESSAGE(found.status.ok(), found.status.ToString());
  CHECK(found.records == sample.records);
  CHECK(found.torn_bytes == 0);
  CHECK(sample.files.files.size() == 1);
}

TEST_CASE("a log has its name when it is sealed, and the old one keeps it until then") {
  Sample sample;
  sample.files.sync_fails = false;
  {
    auto log = CreateOrDie(&sample.files);
    REQUIRE(log->Append(9, "new").ok());
    CHECK(ReadLog(&sample.files, kPath).records == sample.records);
  }
  auto log = CreateOrDie(&sample.files);
  REQUIRE(log->Append(9, "new").ok());
  REQUIRE(log->Seal().ok());
  CHECK(ReadLog(&sample.files, kPath).records == std::vector<std::string>{"9:new"});
  CHECK(absl::IsNotFound(ReadLog(&sample.files, "none").status));
  CHECK(sample.files.files.count("none") == 0);
}

TEST_CASE("a tail torn at any length is dropped and counted, a sealed part that is short is refused") {
  Sample sample;
  const std::string whole = sample.bytes();
  for (size_t length = 0; length < whole.size(); ++length) {
    sample.bytes() = whole.substr(0, length);
    const Found found = ReadLog(&sample.files, kPath);
    CHECK(found.status.ok() == (length >= sample.sealed_bytes));
    if (!found.status.ok()) continue;
    CHECK(IsPrefix(found.records, sample.records));
    CHECK(found.records.size() < sample.records.size());
    CHECK(found.torn_bytes < length);
    // More of the same log is what it was without the torn part.
    sample.bytes().resize(length - found.torn_bytes);
    CHECK(ReadLog(&sample.files, kPath).records == found.records);
  }
}

TEST_CASE("any flipped bit is refused where it was known to be synced, and never read as something else") {
  Sample sample;
  const std::string whole = sample.bytes();
  int refused = 0, dropped = 0;
  for (size_t place = 0; place < whole.size(); ++place) {
    for (const int bit : {0, 3, 7}) {
      sample.bytes() = whole;
      sample.bytes()[place] = static_cast<char>(whole[place] ^ (1 << bit));
      const Found found = ReadLog(&sample.files, kPath);
      CHECK(IsPrefix(found.records, sample.records));
      if (place < sample.synced_bytes) CHECK_FALSE(found.status.ok());
      if (place >= sample.synced_bytes) CHECK(found.torn_bytes == whole.size() - sample.synced_bytes);
      refused += found.status.ok() ? 0 : 1;
      dropped += found.torn_bytes > 0 ? 1 : 0;
    }
  }
  CHECK(refused == 3 * static_cast<int>(sample.synced_bytes));
  CHECK(dropped == 3 * static_cast<int>(whole.size() - sample.synced_bytes));
}

TEST_CASE("damage is told with the file, the place and the cure") {
  Sample sample;
  const std::string whole = sample.bytes();
  sample.bytes()[sample.sealed_bytes + 5] ^= 1;
  CHECK(ReadLog(&sample.files, kPath).status ==
        absl::DataLossError("job/log is damaged at offset " + std::to_string(sample.sealed_bytes) + "; delete it"));
  sample.bytes() = whole;
  sample.bytes()[0] = 'X';
  CHECK(ReadLog(&sample.files, kPath).status.message() == "job/log is not a log; delete it");
  sample.bytes() = whole;
  sample.bytes()[8] = 4;
  CHECK(ReadLog(&sample.files, kPath).status.message() ==
        "job/log is of version 4 and this program reads 3; use the program that wrote it, or delete it");
  sample.bytes() = whole;
  const auto torn = RecordLog::Read(&sample.files, kPath, Format(),
                                    [](uint32_t, absl::string_view) { return absl::DataLossError("no such thing"); });
  CHECK(torn.status().message() == "job/log is damaged at offset 40: no such thing; delete it");
}

TEST_CASE("a hole in what was never synced together is a torn tail, even with whole records behind it") {
  MemoryFiles files;
  auto log = CreateOrDie(&files);
  REQUIRE(log->Append(1, "sealed").ok());
  REQUIRE(log->Seal().ok());
  const size_t sealed_bytes = files.bytes(kPath).size();
  REQUIRE(log->Append(2, "first").ok());
  REQUIRE(log->Append(3, "second").ok());
  REQUIRE(log->Sync().ok());
  for (size_t i = 0; i < 16; ++i) files.bytes(kPath)[sealed_bytes + i] = '\0';
  const Found dropped = ReadLog(&files, kPath);
  REQUIRE_MESSAGE(dropped.status.ok(), dropped.status.ToString());
  CHECK(dropped.records == std::vector<std::string>{"1:sealed"});
  // The next record tells that they had been synced.
  REQUIRE(log->Append(4, "third").ok());
  REQUIRE(log->Sync().ok());
  CHECK(absl::IsDataLoss(ReadLog(&files, kPath).status));
}

TEST_CASE("stale records do not pass in another log or at another place") {
  MemoryFiles files;
  for (const char* path : {"a", "b"}) {
    auto log = CreateOrDie(&files, path);
    REQUIRE(log->Append(1, "same").ok());
    REQUIRE(log->Seal().ok());
    REQUIRE(log->Append(2, "stale").ok());
    REQUIRE(log->Sync().ok());
  }
  const size_t sealed_bytes = 40 + 32 + 8;
  std::string& a = files.bytes("a");
  const std::string& b = files.bytes("b");
  REQUIRE(a.size() == b.size());
  const std::string own = a.substr(sealed_bytes);
  a = a.substr(0, sealed_bytes) + b.substr(sealed_bytes);
  CHECK(ReadLog(&files, "a").records == std::vector<std::string>{"1:same"});
  a = a.substr(0, sealed_bytes) + own + own;
  CHECK(ReadLog(&files, "a").records == std::vector<std::string>{"1:same", "2:stale"});
}

TEST_CASE("a full disk leaves a sound log that goes on when there is space again") {
  MemoryFiles files;
  auto log = CreateOrDie(&files);
  REQUIRE(log->Append(1, "first").ok());
  REQUIRE(log->Seal().ok());
  REQUIRE(log->Append(2, "second").ok());
  const std::string sealed = files.bytes(kPath);
  for (const bool truncate_fails : {true, false}) {
    files.space_bytes = 10;
    files.truncate_fails = truncate_fails;
    CHECK(absl::IsResourceExhausted(log->Sync()));
    CHECK((files.bytes(kPath) == sealed) == !truncate_fails);
    files.truncate_fails = false;
    files.space_bytes = 10;
    CHECK_FALSE(log->Sync().ok());
    CHECK(files.bytes(kPath) == sealed);
  }
  files.space_bytes = 1 << 20;
  REQUIRE(log->Append(3, "third").ok());
  REQUIRE(log->Sync().ok());
  CHECK(ReadLog(&files, kPath).records == std::vector<std::string>{"1:first", "2:second", "3:third"});
}

TEST_CASE("after a sync that failed nothing more is promised") {
  MemoryFiles files;
  auto log = CreateOrDie(&files);
  REQUIRE(log->Append(1, "first").ok());
  REQUIRE(log->Seal().ok());
  REQUIRE(log->Append(2, "second").ok());
  files.sync_fails = true;
  CHECK_FALSE(log->Sync().ok());
  files.sync_fails = false;
  CHECK_FALSE(log->Sync().ok());
  CHECK_FALSE(log->Append(3, "third").ok());
}

TEST_CASE("long logs are written in pieces as they grow and read through a window") {
  MemoryFiles files;
  auto log = CreateOrDie(&files);
  std::vector<std::string> expected;
  for (uint32_t i = 0; i < 40; ++i) {
    const std::string payload(100000 + i, static_cast<char>('a' + i % 26));
    expected.push_back(std::to_string(i) + ":" + payload);
    REQUIRE(log->Append(i, payload).ok());
  }
  const std::string largest(RecordLog::kLargestPayloadBytes, 'L');
  REQUIRE(log->Append(99, largest).ok());
  expected.push_back("99:" + largest);
  CHECK(files.bytes(std::string(kPath) + ".new").size() > 3 * RecordLog::kBufferBytes);
  REQUIRE(log->Seal().ok());
  const Found found = ReadLog(&files, kPath);
  REQUIRE(found.status.ok());
  CHECK((found.records == expected));
}

TEST_CASE("packed fields end where their bytes do, and counts that cannot be are none") {
  std::string bytes;
  AppendField(&bytes, uint16_t{7});
  AppendTextField(&bytes, "text");
  AppendField(&bytes, uint32_t{3});
  bytes += "12345678";
  PackedReader reader(bytes);
  CHECK(reader.Take<uint16_t>() == 7);
  CHECK(reader.TakeText() == "text");
  CHECK(reader.TakeCount(4) == 0);
  CHECK_FALSE(reader.ok());
  CHECK(reader.Take<uint8_t>() == 0);
  CHECK_FALSE(reader.at_end());
  PackedReader two(absl::string_view(bytes).substr(6 + 4));
  CHECK(two.TakeCount(2) == 3);
  PackedReader cut(absl::string_view(bytes).substr(2, 6));
  CHECK(cut.TakeText() == "");
  CHECK_FALSE(cut.ok());
}

// Appends, syncing every third time, until it is done or the power fails; counts
// what it appended and what was synced.
void AppendMany(RecordLog* log, int* appended, int* synced) {
  for (int i = 0; i < 9; ++i) {
    if (!log->Append(1, std::string(static_cast<size_t>(50 + 150 * i), static_cast<char>('a' + i))).ok()) return;
    ++*appended;
    if (i % 3 != 2) continue;
    if (!log->Sync().ok()) return;
    *synced = *appended;
  }
}

TEST_CASE("after a power cut at any change a log holds all that was synced and a beginning of the rest") {
  int torn = 0, crashes = 0;
  for (uint64_t at = 1; at <= 6; ++at) {
    for (uint64_t seed = 0; seed < 60; ++seed) {
      const ScratchFolder folder(CrashingParent());
      CrashingFiles files;
      if (seed % 2 == 0) files.ShowStaleBytes();
      auto log = CreateOrDie(&files, folder.Path("log"));
      REQUIRE(log->Seal().ok());
      files.CrashAt(at);
      int appended = 0, synced = 0;
      AppendMany(log.get(), &appended, &synced);
      files.Crash(seed);
      ++crashes;
      const Found found = ReadLog(&files, folder.Path("log"));
      REQUIRE_MESSAGE(found.status.ok(), found.status.ToString());
      CHECK(static_cast<int>(found.records.size()) >= synced);
      CHECK(static_cast<int>(found.records.size()) <= appended);
      for (size_t i = 0; i < found.records.size(); ++i) {
        CHECK(found.records[i] == "1:" + std::string(50 + 150 * i, static_cast<char>('a' + i)));
      }
      torn += found.torn_bytes > 0 ? 1 : 0;
    }
  }
  CHECK(crashes == 360);
  CHECK(torn > 50);
}

}  // namespace
}  // namespace sluice
