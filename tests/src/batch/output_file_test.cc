#include "src/batch/output_file.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/scratch_folder.h"
#include "tests/storage/crashing_files.h"
#include "tests/storage/memory_files.h"

namespace sluice {
namespace {

constexpr char kPath[] = "out.jsonl";

struct Opened {
  absl::Status status;
  std::unique_ptr<OutputFile> file;
  std::vector<std::string> lines;
};

Opened OpenOutput(DurableFiles* files, const std::string& path = kPath,
                  absl::optional<uint64_t> synced_bytes = absl::nullopt) {
  Opened opened;
  const auto visit = [&](absl::string_view line) {
    opened.lines.emplace_back(line);
    return absl::OkStatus();
  };
  auto file = OutputFile::Open(files, path, visit, synced_bytes);
  opened.status = file.status();
  if (file.ok()) opened.file = *std::move(file);
  return opened;
}

std::string Line(int number, size_t padding = 0) {
  return "{\"id\":\"" + std::to_string(number) + "\",\"text\":\"" + std::string(padding, 'x') + "\"}";
}

using Lines = std::vector<std::string>;

TEST_CASE("answers are shown again in their order and new ones go behind them") {
  MemoryFiles files;
  {
    const Opened opened = OpenOutput(&files);
    REQUIRE(opened.status.ok());
    CHECK(opened.lines.empty());
    REQUIRE(opened.file->Append(Line(1) + "\n").ok());
    REQUIRE(opened.file->Append(Line(2) + "\n" + Line(3) + "\n").ok());
    REQUIRE(opened.file->Append("").ok());
    REQUIRE(opened.file->Sync().ok());
  }
  const Opened opened = OpenOutput(&files);
  CHECK(opened.lines == Lines{Line(1), Line(2), Line(3)});
  CHECK(opened.file->cut_bytes() == 0);
  REQUIRE(opened.file->Append(Line(4) + "\n").ok());
  CHECK(files.bytes(kPath) == Line(1) + "\n" + Line(2) + "\n" + Line(3) + "\n" + Line(4) + "\n");
}

TEST_CASE("lines longer than what is read at once are shown whole") {
  MemoryFiles files;
  const Lines lines = {Line(1, 3 << 20), Line(2), Line(3, (1 << 20) - 20), Line(4, 100)};
  for (const std::string& line : lines) files.bytes(kPath) += line + "\n";
  CHECK((OpenOutput(&files).lines == lines));
}

// What is left of an output that ends in `tail`.
void CheckCut(const std::string& sound, const std::string& tail) {
  MemoryFiles files;
  files.bytes(kPath) = sound + tail;
  const Opened opened = OpenOutput(&files);
  REQUIRE_MESSAGE(opened.status.ok(), opened.status.ToString());
  CHECK(files.bytes(kPath) == sound);
  CHECK(opened.file->cut_bytes() == tail.size());
  CHECK(opened.lines.size() == static_cast<size_t>(std::count(sound.begin(), sound.end(), '\n')));
}

TEST_CASE("what a crash left of the last lines is cut") {
  const std::string sound = Line(1) + "\n" + Line(2) + "\n";
  const std::string next = Line(3, 600) + "\n";
  for (size_t length = 0; length < next.size(); ++length) CheckCut(sound, next.substr(0, length));
  for (size_t length = 0; length < next.size(); ++length) CheckCut("", next.substr(0, length));
  CheckCut(sound, "garbage\n");
  CheckCut(sound, "\n");
  CheckCut(sound, std::string(700, '\0'));
  CheckCut("", std::string(700, '\0'));
  CheckCut("", std::string(512, '\0') + next.substr(512));
  CheckCut(sound, std::string(512, '\0') + next.substr(512) + Line(4) + "\n");
  CheckCut(sound, next.substr(0, 100) + std::string(500, '\0') + Line(4) + "\n" + Line(5));
}

void CheckRefused(const std::string& bytes, const std::string& message) {
  MemoryFiles files;
  files.bytes(kPath) = bytes;
  const Opened opened = OpenOutput(&files);
  CHECK(absl::IsInvalidArgument(opened.status));
  CHECK_MESSAGE(opened.status.message().find(message) != absl::string_view::npos, opened.status.message());
  CHECK(files.bytes(kPath) == bytes);
}

TEST_CASE("a file that is no output is refused and left as it is") {
  const std::string first = "line 1 of out.jsonl is no answer of a batch job";
  CheckRefused("some notes", first);
  CheckRefused("some notes\n", first);
  CheckRefused("some notes\nand more\n", first);
  CheckRefused("\n", first);
  CheckRefused("[1, 2]\n", first);
  CheckRefused(std::string("\0\0\0\x18"
                           "ftypmp42",
                           12) +
                   std::string(1000, '\0'),
               first);
  CheckRefused(std::string("GGUF\3\0\0\0", 8) + std::string(1000, '\0'), first);
  CheckRefused(Line(1) + "\nnotes\n" + Line(2) + "\n", "line 2 of out.jsonl is no answer");
  CheckRefused(Line(1) + "\n\n" + Line(2) + "\n", "line 2 of out.jsonl is no answer");
  CheckRefused(Line(1) + "\n{\"half\":\n" + Line(2).substr(0, 4), "line 2 of out.jsonl is no answer");
}

TEST_CASE("more zeros than a crash can leave are refused, and no more than a line of them is held") {
  const ScratchFolder folder;
  const std::string path = folder.Path(kPath);
  std::ofstream(path) << Line(1) << "\n";
  const uint64_t bytes = OutputFile::kLongestLineBytes + OutputFile::kUnsyncedBytes + (1 << 20);
  std::filesystem::resize_file(path, bytes);
  const auto files = HostFiles();
  CHECK(absl::IsInvalidArgument(OpenOutput(files.get(), path).status));
  CHECK(std::filesystem::file_size(path) == bytes);
}

TEST_CASE("folders and devices are refused by name") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  CHECK(OpenOutput(files.get(), folder.path()).status.message().find(folder.path() + " is a folder") !=
        absl::string_view::npos);
  CHECK(OpenOutput(files.get(), "/dev/null").status.message().find("/dev/null is not an ordinary file") !=
        absl::string_view::npos);
}

TEST_CASE("a line that the caller refuses ends the opening and nothing is cut") {
  MemoryFiles files;
  const std::string bytes = Line(1) + "\n" + Line(2) + "\n" + "{torn";
  files.bytes(kPath) = bytes;
  int seen = 0;
  const auto opened = OutputFile::Open(&files, kPath, [&](absl::string_view) {
    return ++seen == 2 ? absl::FailedPreconditionError("of another job") : absl::OkStatus();
  });
  CHECK(opened.status().message() == "of another job");
  CHECK(seen == 2);
  CHECK(files.bytes(kPath) == bytes);
}

TEST_CASE("on a full disk none of the lines is there, and they can be written when there is space") {
  MemoryFiles files;
  const Opened opened = OpenOutput(&files);
  REQUIRE(opened.file->Append(Line(1) + "\n").ok());
  const std::string lines = Line(2) + "\n" + Line(3) + "\n";
  for (const bool truncate_fails : {false, true}) {
    files.space_bytes = Line(2).size() + 5;
    files.truncate_fails = truncate_fails;
    CHECK(absl::IsResourceExhausted(opened.file->Append(lines)));
    CHECK((files.bytes(kPath) == Line(1) + "\n") == !truncate_fails);
  }
  files.truncate_fails = false;
  files.space_bytes = 1000;
  REQUIRE(opened.file->Append(lines).ok());
  CHECK(files.bytes(kPath) == Line(1) + "\n" + lines);
}

TEST_CASE("after a sync that failed nothing more is promised") {
  MemoryFiles files;
  const Opened opened = OpenOutput(&files);
  REQUIRE(opened.file->Append(Line(1) + "\n").ok());
  files.sync_fails = true;
  CHECK_FALSE(opened.file->Sync().ok());
  files.sync_fails = false;
  CHECK_FALSE(opened.file->Sync().ok());
  CHECK_FALSE(opened.file->Append(Line(2) + "\n").ok());
}

TEST_CASE("long runs of answers do not wait for the caller's sync") {
  MemoryFiles files;
  const Opened opened = OpenOutput(&files);
  files.sync_fails = true;
  const std::string line = Line(1, 1 << 20) + "\n";
  absl::Status status;
  int lines = 0;
  while (status.ok() && lines < 100) {
    status = opened.file->Append(line);
    ++lines;
  }
  CHECK(lines == static_cast<int>(OutputFile::kUnsyncedBytes >> 20));
}

// Appends one line, then two, and so on, and syncs each lot.
void AppendLots(OutputFile* file, int* appended, int* synced) {
  for (int lot = 1; lot <= 4; ++lot) {
    std::string lines;
    for (int i = 0; i < lot; ++i) lines += Line(*appended + i, static_cast<size_t>(150 * lot)) + "\n";
    *appended += lot;
    if (!file->Append(lines).ok() || !file->Sync().ok()) return;
    *synced = *appended;
  }
}

TEST_CASE("after a power cut at any change all synced answers are there and the rest is whole lines or gone") {
  int cut = 0, crashes = 0;
  bool finished = false;
  for (uint64_t at = 1; !finished; ++at) {
    for (uint64_t seed = 0; seed < 60; ++seed) {
      const ScratchFolder folder(CrashingParent());
      const std::string path = folder.Path(kPath);
      CrashingFiles files;
      int appended = 0, synced = 0;
      files.CrashAt(at);
      {
        const Opened opened = OpenOutput(&files, path);
        if (opened.status.ok() && files.SyncFolder(folder.path()).ok()) {
          AppendLots(opened.file.get(), &appended, &synced);
        }
      }
      finished = !files.power_is_out();
      files.Crash(seed);
      const Opened opened = OpenOutput(&files, path);
      REQUIRE_MESSAGE(opened.status.ok(), opened.status.ToString());
      CHECK(static_cast<int>(opened.lines.size()) >= synced);
      CHECK(static_cast<int>(opened.lines.size()) <= appended);
      for (size_t i = 0; i < opened.lines.size(); ++i) {
        CHECK(opened.lines[i].rfind("{\"id\":\"" + std::to_string(i) + "\",", 0) == 0);
      }
      cut += opened.file->cut_bytes() > 0 ? 1 : 0;
      ++crashes;
    }
  }
  CHECK(crashes > 500);
  CHECK(cut > 100);
}

// What a power cut may leave behind the first line: blocks that were another file's.
const char* const kStale[] = {"some\nold\ntext\n", "{\"old\": 1}x\n{\"old\": 2}\n", "\n\n", "x\n"};

TEST_CASE("foreign bytes behind what was synced are cut, newlines and all, and answers behind them with them") {
  for (const char* stale : kStale) {
    for (const uint64_t synced_lines : {0, 1}) {
      MemoryFiles files;
      const std::string first = Line(1) + "\n";
      files.bytes(kPath) = first + stale + Line(2) + "\n";
      const Opened opened = OpenOutput(&files, kPath, synced_lines * first.size());
      REQUIRE_MESSAGE(opened.status.ok(), opened.status.ToString());
      CHECK(opened.lines == Lines{Line(1)});
      CHECK(files.bytes(kPath) == first);
      CHECK(opened.file->cut_bytes() > 0);
      CHECK(opened.file->synced_bytes() == first.size());
    }
  }
}

TEST_CASE("foreign bytes before the end of what was synced are refused and left alone, and so are too many") {
  for (const char* stale : kStale) {
    MemoryFiles files;
    const std::string first = Line(1) + "\n", bytes = first + stale + Line(2) + "\n";
    files.bytes(kPath) = bytes;
    CHECK(absl::IsInvalidArgument(OpenOutput(&files, kPath, first.size() + 1).status));
    CHECK(absl::IsInvalidArgument(OpenOutput(&files).status));
    CHECK(files.bytes(kPath) == bytes);
  }
  MemoryFiles files;
  files.bytes(kPath) = "x\n" + std::string(OutputFile::kUnsyncedBytes + OutputFile::kLongestLineBytes, 'y');
  CHECK(absl::IsInvalidArgument(OpenOutput(&files, kPath, 0).status));
}

TEST_CASE("reading shows whole lines of any length and changes nothing") {
  MemoryFiles files;
  const Lines lines = {Line(1), Line(2, 20 << 20), Line(3)};
  std::string bytes;
  for (const std::string& line : lines) bytes += line + "\n";
  bytes += "no json\n" + Line(4);  // unended
  files.bytes(kPath) = bytes;
  Lines shown;
  const auto visit = [&](absl::string_view line) {
    shown.emplace_back(line);
    return absl::OkStatus();
  };
  REQUIRE(OutputFile::Read(&files, kPath, visit).ok());
  CHECK((shown == lines));
  CHECK((files.bytes(kPath) == bytes));
  CHECK(absl::IsNotFound(OutputFile::Read(&files, "none", visit)));
}

}  // namespace
}  // namespace sluice
