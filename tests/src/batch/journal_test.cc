#include "src/batch/journal.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
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

std::unique_ptr<Journal> OpenOrDie(DurableFiles* files, const std::string& path = kPath,
                                   uint64_t rewrite_bytes = Journal::kRewriteBytes) {
  auto journal = Journal::Open(files, path, kJob, rewrite_bytes);
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
std::vector<std::string> States(size_t rounds = 1) {
  std::vector<std::string> states;
  for (size_t count = 0; count <= rounds * kSteps.size(); ++count) {
    MemoryFiles files;
    const auto journal = OpenOrDie(&files);
    for (size_t i = 0; i < count; ++i) REQUIRE(kSteps[i % kSteps.size()](journal.get()).ok());
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

TEST_CASE("how the spill is laid out is told over and over, and blocks of another layout are forgotten") {
  MemoryFiles files;
  {
    const auto journal = OpenOrDie(&files);
    CHECK(journal->spill_places().blocks == 0);
    REQUIRE(journal->SpillLayout({70, 8192, 4}).ok());
    for (const uint64_t line : {3, 4}) REQUIRE(journal->Begin(line, 7).ok());
    REQUIRE(journal->Spill(3, {{5, 6}, {7, 8}}).ok());
    REQUIRE(journal->Sync().ok());
  }
  for (int i = 0; i < 3; ++i) {
    const auto journal = OpenOrDie(&files);
    CHECK(journal->spill_places().blocks == 70);
    CHECK(journal->spill_places().block_bytes == 8192);
    CHECK(journal->spill_places().sequences == 4);
    CHECK(Told(journal->in_flight()) == "line 3 seed 7 b5/6 b7/8\nline 4 seed 7\n");
    REQUIRE(journal->SpillLayout({70, 8192, 4}).ok());
    CHECK(journal->in_flight().at(3).blocks.size() == 2);
  }
  {
    const auto journal = OpenOrDie(&files);
    REQUIRE(journal->SpillLayout({71, 8192, 5}).ok());
    CHECK(Told(journal->in_flight()) == "line 3 seed 7\nline 4 seed 7\n");
    REQUIRE(journal->Spill(4, {{1, 2}}).ok());
    REQUIRE(journal->SpillLayout({71, 8192, 6}).ok());
    REQUIRE(journal->Sync().ok());
  }
  const auto journal = OpenOrDie(&files);
  CHECK(journal->spill_places().sequences == 6);
  CHECK(Told(journal->in_flight()) == "line 3 seed 7\nline 4 seed 7 b1/2\n");
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
  CHECK(Told((*journal)->in_flight()) == kAfterAll);
  CHECK(files.bytes(kPath) == whole + "torn");
  OpenOrDie(&files);
  CHECK(files.bytes(kPath).find("torn") == std::string::npos);
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
  says(6, line + line, "its record of the spill cannot be read");
  says(6, line + line + line + "x", "its record of the spill cannot be read");
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

// Tells of `rounds` documents, each done when the next begins, beside one that
// goes on, and syncs after each; returns the largest size the file had.
size_t TellRounds(int rounds, MemoryFiles* files, Journal* journal) {
  size_t largest_bytes = 0;
  REQUIRE(journal->Begin(1, 2).ok());
  for (int i = 0; i < rounds; ++i) {
    const uint64_t line = static_cast<uint64_t>(i) + 10;
    const ChosenToken token{i, -1, {{i, -1}, {5, -2}}};
    REQUIRE(journal->Begin(line, line).ok());
    REQUIRE(journal->Choose({{line, &token}, {1, &token}, {line, &token}}).ok());
    REQUIRE(journal->Spill(line, {{1, 2}, {3, 4}}).ok());
    if (i % 100 == 0) REQUIRE(journal->Spill(1, {{static_cast<uint32_t>(i), 7}}).ok());
    if (i > 0) REQUIRE(journal->Done(line - 1).ok());
    REQUIRE(journal->Sync().ok());
    largest_bytes = std::max(largest_bytes, files->bytes(kPath).size());
  }
  return largest_bytes;
}

TEST_CASE("a journal that grows is rewritten with what is in flight, and no larger than that asks for") {
  MemoryFiles whole_files, files;
  const auto whole = OpenOrDie(&whole_files);
  const auto journal = OpenOrDie(&files, kPath, 10000);
  REQUIRE(whole->SpillLayout({100, 4096, 3}).ok());
  REQUIRE(journal->SpillLayout({100, 4096, 3}).ok());
  CHECK(TellRounds(400, &whole_files, whole.get()) > 100000);
  // 400 tokens of 36 bytes stay: 4 times that, and what is told in one round.
  CHECK(TellRounds(400, &files, journal.get()) < 70000);
  const auto told = Journal::Inspect(&files, kPath);
  REQUIRE(told.ok());
  CHECK((*told)->identity() == kJob);
  CHECK((*told)->spill_places().blocks == 100);
  CHECK((*told)->in_flight().size() == 2);
  CHECK((*told)->in_flight().at(1).tokens.size() == 400);
  CHECK((*told)->in_flight().at(1).blocks.size() == 4);
  CHECK((Told((*told)->in_flight()) == Told((*Journal::Inspect(&whole_files, kPath))->in_flight())));
  CHECK(files.files.size() == 1);
}

TEST_CASE("what waits for its document since the journal was opened is still there when it is rewritten") {
  MemoryFiles files;
  WholeJournal(&files);
  const auto journal = OpenOrDie(&files, kPath, 1000);
  journal->in_flight().clear();  // taken
  CHECK(TellRounds(100, &files, journal.get()) < 20000);
  const auto told = Journal::Inspect(&files, kPath);
  REQUIRE(told.ok());
  CHECK(Told((*told)->in_flight()).find("line 4 seed 99\n") != std::string::npos);
  CHECK((*told)->in_flight().at(uint64_t{1} << 40).tokens.size() == 1);
}

TEST_CASE("of all layouts of the spill a journal keeps the last, and blocks that lie so") {
  MemoryFiles files;
  const auto open_with = [&](uint64_t sequences, uint64_t blocks) {
    const auto journal = OpenOrDie(&files);
    REQUIRE(journal->SpillLayout({blocks, 4096, sequences}).ok());
    if (journal->in_flight().empty()) REQUIRE(journal->Begin(1, 2).ok());
    REQUIRE(journal->Spill(1, {{static_cast<uint32_t>(sequences), 7}}).ok());
    REQUIRE(journal->Sync().ok());
    return files.bytes(kPath).size();
  };
  open_with(1, 100);
  const size_t bytes = open_with(2, 200);
  for (uint64_t i = 3; i < 30; ++i) CHECK(open_with(i, 100 * i) == bytes);
  // The same layout: what was told of it stays.
  open_with(50, 2900);
  const auto journal = OpenOrDie(&files);
  CHECK(Told(journal->in_flight()) == "line 1 seed 2 b29/7 b50/7\n");
  CHECK(journal->spill_places().blocks == 2900);
  CHECK(journal->spill_places().sequences == 50);
  CHECK(Told(OpenOrDie(&files)->in_flight()) == "line 1 seed 2 b29/7 b50/7\n");
}

TEST_CASE("a journal that cannot be rewritten goes on as it is, and is tried again when it has doubled") {
  MemoryFiles files;
  const auto journal = OpenOrDie(&files, kPath, 1000);
  const auto tell = [&](uint64_t line) {
    REQUIRE(journal->Begin(line, line).ok());
    REQUIRE(journal->Done(line).ok());
    return journal->Sync();
  };
  uint64_t line = 0;
  while (files.bytes(kPath).size() < 900) REQUIRE(tell(++line).ok());
  REQUIRE(journal->Begin(5000, 5).ok());
  files.space_bytes = 200;
  REQUIRE(tell(++line).ok());
  CHECK(files.bytes(kPath).size() > 1000);
  CHECK(files.files.size() == 1);
  files.space_bytes = 1 << 20;
  size_t largest_bytes = 0;
  for (; line < 100; largest_bytes = std::max(largest_bytes, files.bytes(kPath).size())) REQUIRE(tell(++line).ok());
  CHECK(largest_bytes > 2000);
  CHECK(largest_bytes < 3000);
  CHECK(OpenOrDie(&files)->in_flight().count(5000) == 1);
}

TEST_CASE("a new log whose name may not last ends the journal: the old one is gone") {
  MemoryFiles files;
  const auto journal = OpenOrDie(&files, kPath, 1000);
  files.folder_sync_fails = true;
  absl::Status status;
  for (uint64_t line = 1; line < 100 && status.ok(); ++line) {
    REQUIRE(journal->Begin(line, line).ok());
    REQUIRE(journal->Done(line).ok());
    status = journal->Sync();
  }
  CHECK(absl::IsUnavailable(status));
  files.folder_sync_fails = false;
  CHECK_FALSE(journal->Sync().ok());
  CHECK_FALSE(journal->Begin(1, 1).ok());
  CHECK(OpenOrDie(&files)->in_flight().empty());
}

TEST_CASE("a log that does not read back whole is not replaced by less") {
  MemoryFiles files;
  const auto journal = OpenOrDie(&files, kPath, 1000);
  for (uint64_t line = 1; line <= 30; ++line) REQUIRE(journal->Begin(line, line).ok());
  files.on_sync = [&] { files.bytes(kPath).back() ^= 1; };
  REQUIRE(journal->Sync().ok());
  CHECK(files.bytes(kPath).size() > 1000);
  CHECK(files.files.size() == 1);
  CHECK((*Journal::Inspect(&files, kPath))->in_flight().size() == 29);
}

struct Progress {
  size_t begun = 0;   // steps
  size_t synced = 0;  // of them
};

Progress RunSteps(Journal* journal, size_t rounds) {
  Progress progress;
  for (size_t i = 0; i < rounds * kSteps.size(); ++i) {
    ++progress.begun;
    if (!kSteps[i % kSteps.size()](journal).ok()) return progress;
    if (i % 4 == 3) progress.synced = progress.begun;
  }
  return progress;
}

bool IsStateBetween(const std::vector<std::string>& states, const Progress& progress, const std::string& told) {
  for (size_t count = progress.synced; count <= progress.begun; ++count) {
    if (states[count] == told) return true;
  }
  return false;
}

// What the crashes have met.
struct Met {
  int crashes = 0;
  int behind = 0;       // by steps that were not synced
  int in_rewrites = 0;  // of a journal that had been told something
};

Met CrashAtEveryChange(size_t rounds, uint64_t rewrite_bytes) {
  const std::vector<std::string> states = States(rounds);
  Met met;
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
        auto journal = Journal::Open(&files, path, kJob, rewrite_bytes);
        if (journal.ok()) progress = RunSteps(journal->get(), rounds);
      }
      finished = !files.power_is_out();
      met.in_rewrites += progress.begun > 0 && std::filesystem::exists(path + ".new");
      files.Crash(seed);
      files.CrashAt(1 + seed % 8);
      (void)Journal::Open(&files, path, kJob).ok();
      files.Crash(seed + 1000);
      auto journal = Journal::Open(&files, path, kJob);
      REQUIRE_MESSAGE(journal.ok(), journal.status().ToString());
      const std::string told = Told((*journal)->in_flight());
      CHECK_MESSAGE(IsStateBetween(states, progress, told), "change " << at << ", seed " << seed << ": " << told);
      met.behind += told != states[progress.begun];
      ++met.crashes;
    }
  }
  return met;
}

TEST_CASE("after power cuts at any change, also while opening again, a journal tells a state it had") {
  const Met met = CrashAtEveryChange(1, Journal::kRewriteBytes);
  CHECK(met.crashes > 500);
  CHECK(met.behind > 50);
  CHECK(met.in_rewrites == 0);
}

TEST_CASE("so does one that is rewritten between") {
  const Met met = CrashAtEveryChange(3, 0);
  CHECK(met.crashes > 1500);
  CHECK(met.behind > 50);
  CHECK(met.in_rewrites > 300);
}

TEST_CASE("how far the answers were synced is known again, also behind a rewriting, and not before it was told") {
  MemoryFiles files;
  CHECK_FALSE(OpenOrDie(&files)->answer_bytes().has_value());
  CHECK_FALSE(OpenOrDie(&files)->answer_bytes().has_value());
  {
    const auto journal = OpenOrDie(&files, kPath, /*rewrite_bytes=*/1);
    REQUIRE(journal->Answers(0).ok());
    REQUIRE(journal->Answers(uint64_t{1} << 40).ok());
    for (int i = 0; i < 100; ++i) REQUIRE(journal->Begin(3, static_cast<uint64_t>(i)).ok());
    REQUIRE(journal->Sync().ok());
  }
  CHECK(files.bytes(kPath).size() < 1000);  // rewritten
  CHECK(OpenOrDie(&files)->answer_bytes() == uint64_t{1} << 40);
  CHECK((*Journal::Inspect(&files, kPath))->answer_bytes() == uint64_t{1} << 40);
}

}  // namespace
}  // namespace sluice
