#include "src/batch/input_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/scratch_folder.h"

namespace sluice {
namespace {

using Lines = std::vector<std::string>;

class Written {
 public:
  explicit Written(const std::string& text) { Write(text); }
  void Write(const std::string& text) const { std::ofstream(path(), std::ios::binary) << text; }
  std::string path() const { return folder_.Path("in.jsonl"); }

 private:
  ScratchFolder folder_;
};

InputFile Opened(const std::string& path, Lines* seen) {
  auto file = InputFile::Open(path, [&](size_t index, absl::string_view line) {
    CHECK(index == seen->size());
    seen->emplace_back(line);
    return absl::OkStatus();
  });
  REQUIRE_MESSAGE(file.ok(), file.status().ToString());
  return *std::move(file);
}

absl::Status IgnoreLine(size_t, absl::string_view) { return absl::OkStatus(); }

// Every line is seen once in order and read again the same, in any order.
InputFile CheckLines(const std::string& path, const Lines& expected) {
  Lines seen;
  InputFile file = Opened(path, &seen);
  CHECK(seen == expected);
  REQUIRE(file.lines() == expected.size());
  for (size_t i = expected.size(); i-- > 0;) CHECK(*file.Read(i) == expected[i]);
  return file;
}

TEST_CASE("lines are found, told once and read again") {
  const Written written("one\ntwo\nthree\n");
  const InputFile file = CheckLines(written.path(), {"one", "two", "three"});
  CHECK(file.number(2) == 3);
  CHECK(file.size_bytes() == 14);
  CHECK(file.memory_bytes() >= 3 * 24);
  CHECK(file.memory_bytes() <= 6 * 24);
}

TEST_CASE("a last line without a newline counts") { CheckLines(Written("one\ntwo").path(), {"one", "two"}); }

TEST_CASE("an empty file has no lines") {
  CHECK(CheckLines(Written("").path(), {}).memory_bytes() == 0);
  CheckLines(Written("\n").path(), {});
  CheckLines(Written("\xEF\xBB\xBF").path(), {});
}

TEST_CASE("blank lines are numbered and left out") {
  const InputFile file = CheckLines(Written("\n \t\none\n\r\n  two \n\n").path(), {"one", "  two "});
  CHECK(file.number(0) == 3);
  CHECK(file.number(1) == 5);
}

TEST_CASE("a carriage return at the end and a byte order mark in front belong to no line") {
  CheckLines(Written("\xEF\xBB\xBFone\r\ntwo\r\r\nthr\ree\r").path(), {"one", "two\r", "thr\ree"});
  CheckLines(Written("one\n\xEF\xBB\xBFtwo\n").path(), {"one", "\xEF\xBB\xBFtwo"});
}

TEST_CASE("lines may be longer than a read and end anywhere in it") {
  Lines expected;
  std::string text;
  for (size_t length : {size_t{262143}, size_t{1}, size_t{262144}, size_t{900000}, size_t{262145}, size_t{5}}) {
    expected.emplace_back(length, static_cast<char>('a' + expected.size()));
    text += expected.back() + "\r\n";
  }
  CheckLines(Written(text).path(), expected);
}

TEST_CASE("a line above the limit stands as an empty one and its neighbours are whole") {
  const uint64_t longest = InputFile::kLongestLineBytes;
  const ScratchFolder folder;
  std::ofstream out(folder.Path("in.jsonl"), std::ios::binary);
  out << "one\n" << std::string(longest + 1, 'x') << "\ntwo\n" << std::string(3 * longest, ' ') << "\nthree\n";
  out.close();
  const InputFile file = CheckLines(folder.Path("in.jsonl"), {"one", "", "two", "", "three"});
  CHECK(file.number(4) == 5);
}

TEST_CASE("a line of just the limit is held, with what surrounds it") {
  const std::string line(InputFile::kLongestLineBytes, 'x');
  const Written written(absl::StrCat("\xEF\xBB\xBF", line, "\r\n"));
  size_t lines = 0;
  const auto file = InputFile::Open(written.path(), [&](size_t, absl::string_view seen) {
    ++lines;
    CHECK((seen == line));
    return absl::OkStatus();
  });
  REQUIRE(file.ok());
  CHECK(lines == 1);
  CHECK((*file->Read(0) == line));
}

TEST_CASE("the fingerprint covers every byte") {
  std::string text(600000, 'x');
  text[300000] = '\n';
  const Written written(text);
  CHECK(CheckLines(written.path(), {text.substr(0, 300000), text.substr(300001)}).fingerprint() ==
        XXH3_64bits(text.data(), text.size()));
  const Written other(text + "\n");
  Lines seen;
  CHECK(Opened(other.path(), &seen).fingerprint() != XXH3_64bits(text.data(), text.size()));
}

TEST_CASE("a file that changed since is noticed") {
  const Written written("one\ntwo\n");
  Lines seen;
  const InputFile file = Opened(written.path(), &seen);
  written.Write("one\ntwO\n");
  CHECK(*file.Read(0) == "one");
  const auto changed = file.Read(1);
  CHECK(changed.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(absl::StrContains(changed.status().message(), "has changed since the job began, at line 2"));
  written.Write("one\n");
  CHECK(file.Read(1).status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("a file that was removed meanwhile is still read") {
  const Written written("one\ntwo\n");
  Lines seen;
  const InputFile file = Opened(written.path(), &seen);
  REQUIRE(std::remove(written.path().c_str()) == 0);
  CHECK(*file.Read(1) == "two");
}

TEST_CASE("an error of the visitor ends the pass") {
  const Written written("one\ntwo\nthree\n");
  int calls = 0;
  const auto file = InputFile::Open(written.path(), [&](size_t index, absl::string_view) {
    ++calls;
    return index == 1 ? absl::CancelledError("enough") : absl::OkStatus();
  });
  CHECK(file.status().code() == absl::StatusCode::kCancelled);
  CHECK(calls == 2);
}

TEST_CASE("what cannot be read twice is refused with the cure") {
  const ScratchFolder folder;
  REQUIRE(mkfifo(folder.Path("pipe").c_str(), 0600) == 0);
  for (const std::string& path : {std::string("-"), folder.Path("pipe"), std::string("/dev/null")}) {
    const auto file = InputFile::Open(path, IgnoreLine);
    CHECK(file.status().code() == absl::StatusCode::kFailedPrecondition);
    CHECK_MESSAGE(absl::StrContains(file.status().message(), "write them to a file first"), file.status().ToString());
  }
  CHECK(InputFile::Open(folder.path(), IgnoreLine).status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("a missing file is not found") {
  const ScratchFolder folder;
  const auto file = InputFile::Open(folder.Path("none"), IgnoreLine);
  CHECK(file.status().code() == absl::StatusCode::kNotFound);
  CHECK(absl::StrContains(file.status().message(), "No such file"));
}

}  // namespace
}  // namespace sluice
