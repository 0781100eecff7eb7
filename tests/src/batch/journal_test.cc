#include "src/batch/journal.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/packed_fields.h"
#include "tests/scratch_folder.h"
#include "tests/storage/crashing_files.h"
#include "tests/storage/memory_files.h"

namespace sluice {
namespace {

constexpr char kPath[] = "out.jsonl.job/journal";
const JobIdentity kJob = {{"the input file", "1234 bytes, 89ab"}, {"--kv", "f16"}};

std::unique_ptr<Journal> OpenOrDie(DurableFiles* files, const std::string& path = kPath) {
  auto journal = Journal::Open(files, path, kJob);
  REQUIRE_MESSAGE(journal.ok(), journal.status().ToString());
  return *std::move(journal);
}

// All of it, so that two journals can be compared.
std::string Told(const std::map<uint64_t, InFlight>& in_flight) {
  std::string told;
  for (const auto& [line, document] : in_flight) {
    absl::StrAppend(&told, "line ", line, " seed ", document.seed);
    for (const ChosenToken& token : document.tokens) {
      absl::StrAppend(&told, " ", token.token, "/", token.logprob);
      for (const TokenLogprob& top : token.top) absl::StrAppend(&told, ",", top.token, "/", top.logprob);
    }
    for (const SpilledBlock& block : document.blocks) {
      absl::StrAppend(&told, " b", block.block, "/", block.checksum);
    }
    told += "\n";
  }
  return told;
}

// What a job tells its journal, step by step.
using Step = absl::Status (*)(Journal* journal);
const std::vector<Step> kSteps = {
    [](Journal* journal) { return journal->Begin(3, 7); },
    [](Journal* journal) { return journal->Begin(uint64_t{1} << 40, ~uint64_t{0}); },
    [](Journal* journal) {
      const ChosenToken plain{11, 0, {}}, told{12, -0.5f, {{12, -0.5f}, {90, -1.25f}}};
      return journal->Choose({{3, &plain}, {uint64_t{1} << 40, &told}});
    },
    [](Journal* journal) { return journal->Sync(); },
    [](Journal* journal) {
      return journal->Spill(3, {{5, 0x1122334455667788u}, {0, 1}});
    },
    [](Journal* journal) {
      const ChosenToken next{-1, 0, {}};
      return journal->Choose({{3, &next}});
    },
    [](Journal* journal) { return journal->Begin(4, 0); },
    [](Journal* journal) { return journal->Sync(); },
    [](Journal* journal) { return journal->Done(3); },
    [](Journal* journal) {
      return journal->Spill(4, {{6, 2}});
    },
    [](Journal* journal) { return journal->Begin(4, 99); },
    [](Journal* journal) { return journal->Sync(); },
};

constexpr char kAfterThird[] =
    "line 3 seed 7 11/0\n"
    "line 1099511627776 seed 18446744073709551615 12/-0.5,12/-0.5,90/-1.25\n";
constexpr char kAfterAll[] =
    "line 4 seed 99\n"
    "line 1099511627776 seed 18446744073709551615 12/-0.5,12/-0.5,90/-1.25\n";

// What is in flight after each number of steps.
std::vector<std::string> States() {
  std::vector<std::string> states;
  for (size_t count = 0; count <= kSteps.size(); ++count) {
    MemoryFiles files;
    const auto journal = OpenOrDie(&files);
    for (size_t i = 0; i < count; ++i) REQUIRE(kSteps[i](journal.get()).ok());
    REQUIRE(journal->Sync().ok());
    states.push_back(Told((*Journal::Inspect(&files, kPath))->in_flight()));
  }
  return states;
}

std::string WholeJournal(MemoryFiles* files) {
  const auto journal = OpenOrDie(files);
  for (const Step step : kSteps) REQUIRE(step(journal.get()).ok());
  return files->bytes(kPath);
}

TEST_CASE("what was begun and is not done is found again with its tokens and blocks") {
  MemoryFiles files;
  {
    const auto journal = OpenOrDie(&files);
    CHECK(journal->in_flight().empty());
    for (const Step step : kSteps) REQUIRE(step(journal.get()).ok());
  }
  const auto journal = OpenOrDie(&files);
  CHECK(journal->identity() == kJob);
  CHECK(journal->dropped_bytes() == 0);
  CHECK(Told(journal->in_flight()) == kAfterAll);
  CHECK(States()[3] == kAfterThird);
  const std::string with_blocks = States()[6];
  CHECK(with_blocks.find("11/0 -1/0 b5/1234605616436508552 b0/1\n") != std::string::npos);
}

TEST_CASE("opening rewrites a journal without what is done, and it can be opened and told more again") {
  MemoryFiles files;
  {
    const auto journal = OpenOrDie(&files);
    for (uint64_t line = 1; line <= 1000; ++line) {
      REQUIRE(journal->Begin(line, line).ok());
      REQUIRE(journal->Done(line).ok());
    }
    REQUIRE(journal->Begin(5000, 1).ok());
    REQUIRE(journal->Sync().ok());
  }
  CHECK(files.bytes(kPath).size() > 50000);
  for (int32_t i = 0; i < 3; ++i) {
    const auto journal = OpenOrDie(&files);
    CHECK(files.bytes(kPath).size() < 500);
    CHECK(journal->in_flight().at(5000).tokens.size() == static_cast<size_t>(i));
    const ChosenToken token{i, 0, {}};
    REQUIRE(journal->Choose({{5000, &token}}).ok());
    REQUIRE(journal->Sync().ok());
  }
  CHECK(files.files.size() == 1);
}

TEST_CASE("long answers are rewritten whole") {
  MemoryFiles files;
  std::string expected;
  {
    const auto journal = OpenOrDie(&files);
    std::vector<ChosenToken> tokens(50000);
    std::vector<Journal::Chosen> chosen;
    for (size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = {static_cast<int32_t>(i), -1, {{1, -1}, {2, -2}}};
      chosen.push_back({i % 2, &tokens[i]});
    }
    const std::vector<SpilledBlock> blocks(10000, SpilledBlock{3, 4});
    for (const uint64_t line : {0, 1}) REQUIRE(journal->Begin(line, line).ok());
    REQUIRE(journal->Choose(chosen).ok());
    REQUIRE(journal->Spill(1, blocks).ok());
    REQUIRE(journal->Sync().ok());
    expected = Told((*Journal::Inspect(&files, kPath))->in_flight());
  }
  CHECK(OpenOrDie(&files)->in_flight().at(1).blocks.size() == 10000);
  CHECK((Told(OpenOrDie(&files)->in_flight()) == expected));
}

TEST_CASE("a journal of another job is refused with what differs, and stays as it was") {
  MemoryFiles files;
  const std::string whole = WholeJournal(&files);
  const auto refusal = [&](const JobIdentity& identity) {
    const auto journal = Journal::Open(&files, kPath, identity);
    CHECK(absl::IsFailedPrecondition(journal.status()));
    return std::string(journal.status().message());
  };
  CHECK(
      refusal({kJob[0], {"--kv", "q8_0"}}) ==
      "the job in out.jsonl.job was made with --kv f16, this command says q8_0; give the same, or another -o to start "
      "a new job");
  CHECK(refusal({{"the input file", "5 bytes, 01"}, {"--kv", "q8_0"}}) ==
        "the job in out.jsonl.job was made with the input file 1234 bytes, 89ab, this command says 5 bytes, 01, and "
        "with --kv f16, this command says q8_0; give the same, or another -o to start a new job");
  CHECK(refusal({kJob[0]}).find("made with --kv f16, this command is without;") != std::string::npos);
  CHECK(refusal({kJob[0], kJob[1], {"--seed", "1"}}).find("made without --seed, this command says 1;") !=
        std::string::npos);
  CHECK(files.bytes(kPath) == whole);
}

TEST_CASE("inspecting changes nothing and says what is there") {
  MemoryFiles files;
  CHECK(absl::IsNotFound(Journal::Inspect(&files, kPath).status()));
  CHECK(files.files.empty());
  const std::string whole = WholeJournal(&files);
  files.bytes(kPath) += "torn";
  const auto journal = Journal::Inspect(&files, kPath);
  REQUIRE(journal.ok());
  CHECK((*journal)->identity() == kJob);
  CHECK((*journal)->dropped_bytes() == 4);
  CHECK(Told((*journal)->in_flight()) == kAfterAll);
  CHECK(files.bytes(kPath) == whole + "torn");
  CHECK(OpenOrDie(&files)->dropped_bytes() == 4);
  CHECK(OpenOrDie(&files)->dropped_bytes() == 0);
}

TEST_CASE("a journal torn at any length or with any byte flipped tells a state it had, or is refused with the cure") {
  MemoryFiles files;
  const std::string whole = WholeJournal(&files);
  const std::vector<std::string> states = States();
  const std::set<std::string> possible(states.begin(), states.end());
  int refused = 0, read = 0;
  const auto check = [&](const std::string& bytes) {
    files.bytes(kPath) = bytes;
    const auto journal = Journal::Inspect(&files, kPath);
    if (journal.ok()) {
      CHECK(possible.count(Told((*journal)->in_flight())) == 1);
      CHECK((*journal)->identity() == kJob);
      ++read;
    } else {
      CHECK(journal.status().message().find("delete out.jsonl.job: documents in flight start again, the answers in the "
                                            "output file are kept") != absl::string_view::npos);
      ++refused;
    }
  };
  for (size_t length = 0; length < whole.size(); ++length) check(whole.substr(0, length));
  CHECK(read > 200);
  CHECK(refused > 50);
  read = refused = 0;
  for (size_t place = 0; place < whole.size(); ++place) {
    std::string flipped = whole;
    flipped[place] = static_cast<char>(flipped[place] ^ 0x10);
    check(flipped);
  }
  // Only damage in what the last sync wrote cannot be told from a torn tail.
  CHECK(read > 50);
  CHECK(refused > 300);
}

TEST_CASE("records that check but make no sense are refused with their place") {
  const auto refusal = [](uint32_t type, const std::string& payload) {
    MemoryFiles files;
    RecordLogFormat format;
    format.magic = "SLUICEJL";
    auto log = *RecordLog::Create(&files, kPath, format);
    std::string identity;
    AppendTextField(&identity, "name");
    AppendTextField(&identity, "value");
    if (type != 0) REQUIRE(log->Append(1, identity).ok());
    if (type != 0) REQUIRE(log->Append(type, payload).ok());
    REQUIRE(log->Seal().ok());
    const auto journal = Journal::Inspect(&files, kPath);
    CHECK(absl::IsDataLoss(journal.status()));
    return std::string(journal.status().message());
  };
  const auto says = [&](uint32_t type, const std::string& payload, const std::string& text) {
    const std::string message = refusal(type, payload);
    CHECK_MESSAGE(message.find(text) != std::string::npos, message);
  };
  std::string line;
  AppendField(&line, uint64_t{5});
  std::string hostile = line;
  AppendField(&hostile, int32_t{1});
  AppendField(&hostile, 0.0f);
  AppendField(&hostile, ~uint32_t{0});
  says(0, "", "does not say which job it belongs to");
  says(1, "", "it names its job twice");
  says(2, line, "its record of line 5 cannot be read");
  says(2, line + line + "x", "its record of line 5 cannot be read");
  says(3, hostile, "its record of tokens cannot be read");
  says(3, line.substr(1), "its record of tokens cannot be read");
  says(3, line + std::string(12, '\0'), "it goes on with line 5, which was not begun");
  says(4, line, "it goes on with line 5, which was not begun");
  says(9, "", "damaged at offset 96: it has a record of type 9");
}

TEST_CASE("a line that is done without having been begun is no error") {
  MemoryFiles files;
  {
    const auto journal = OpenOrDie(&files);
    REQUIRE(journal->Done(17).ok());
    REQUIRE(journal->Sync().ok());
  }
  CHECK(OpenOrDie(&files)->in_flight().empty());
}

TEST_CASE("a disk too full to rewrite the journal leaves it as it was") {
  MemoryFiles files;
  const std::string whole = WholeJournal(&files);
  files.space_bytes = 50;
  CHECK(absl::IsResourceExhausted(Journal::Open(&files, kPath, kJob).status()));
  CHECK(files.bytes(kPath) == whole);
  CHECK(files.files.size() == 1);
  files.space_bytes = 1 << 20;
  CHECK(Told(OpenOrDie(&files)->in_flight()) == kAfterAll);
}

struct Progress {
  size_t begun = 0;   // steps
  size_t synced = 0;  // of them
};

Progress RunSteps(Journal* journal) {
  Progress progress;
  for (const Step step : kSteps) {
    ++progress.begun;
    if (!step(journal).ok()) return progress;
    if (step == kSteps[3] || step == kSteps[7] || step == kSteps[11]) progress.synced = progress.begun;
  }
  return progress;
}

bool IsStateBetween(const std::vector<std::string>& states, const Progress& progress, const std::string& told) {
  for (size_t count = progress.synced; count <= progress.begun; ++count) {
    if (states[count] == told) return true;
  }
  return false;
}

TEST_CASE("after power cuts at any change, also while opening again, a journal tells a state it had") {
  const std::vector<std::string> states = States();
  int crashes = 0, behind = 0;
  bool finished = false;
  for (uint64_t at = 1; !finished; ++at) {
    for (uint64_t seed = 0; seed < 60; ++seed) {
      const ScratchFolder folder(CrashingParent());
      const std::string path = folder.Path("journal");
      CrashingFiles files;
      if (seed % 2 == 0) files.ShowStaleBytes();
      files.CrashAt(at);
      Progress progress;
      {
        auto journal = Journal::Open(&files, path, kJob);
        if (journal.ok()) progress = RunSteps(journal->get());
      }
      finished = !files.power_is_out();
      files.Crash(seed);
      files.CrashAt(1 + seed % 8);
      (void)Journal::Open(&files, path, kJob).ok();
      files.Crash(seed + 1000);
      auto journal = Journal::Open(&files, path, kJob);
      REQUIRE_MESSAGE(journal.ok(), journal.status().ToString());
      const std::string told = Told((*journal)->in_flight());
      CHECK_MESSAGE(IsStateBetween(states, progress, told), "change " << at << ", seed " << seed << ": " << told);
      behind += told != states[progress.begun] ? 1 : 0;
      ++crashes;
    }
  }
  CHECK(crashes > 500);
  CHECK(behind > 50);
}

}  // namespace
}  // namespace sluice
