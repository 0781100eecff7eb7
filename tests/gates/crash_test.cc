// A job whose power is cut at every change it makes to the disk ends with the
// answers of one that was left alone.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "src/batch/batch_job.h"
#include "tests/scratch_folder.h"
#include "tests/storage/crashing_files.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

using Json = nlohmann::json;
using Answers = std::map<std::string, Json>;

// Seeds that are not given: those of the first process, and of those behind it.
constexpr uint64_t kFirstDraw = 11, kLaterDraw = 12;

struct Conditions {
  SpillUse spill = SpillUse::kNever;
  int max_batch = 4;
  uint64_t draw = kFirstDraw;
};

// What all the crashes have met, so that none of it is tested by nothing.
struct Met {
  int crashes = 0;
  int resumed = 0;          // began with tokens from the journal,
  int spilled = 0;          // with blocks in the journal,
  int adopted = 0;          // that were found in the spill,
  int torn_outputs = 0;     // with a part of an answer,
  int answered_before = 0;  // with whole ones
  int drawn_before = 0;     // kept a seed that the first process drew
};

std::string Words(int count, int seed) {
  const char* const words[] = {"king", "queen", "forest", "sea", "moon", "little", "old", "house"};
  std::string text = "Once upon a time";
  for (int i = 0; i < count; ++i) absl::StrAppend(&text, " ", words[(i * 5 + seed * (i + 3)) % 8]);
  return text;
}

Json Request(const std::string& id, const std::string& prompt, int max_tokens) {
  return {{"custom_id", id},
          {"method", "POST"},
          {"url", "/v1/completions"},
          {"body", {{"prompt", prompt}, {"max_tokens", max_tokens}, {"seed", 3}, {"ignore_eos", true}}}};
}

// Eight lines: three begin with the same block, two tell logprobs, one leaves its
// seed to us, one is an error.
std::string Input() {
  const std::string shared = Words(60, 1);
  std::vector<Json> lines = {Request("shared 1", shared + " said the king", 5),
                             Request("short", "The cat", 12),
                             Request("shared 2", shared + " said the queen", 7),
                             Request("drawn", "A dog", 6),
                             Request("error", "A dog", -1),
                             Request("long", Words(30, 2), 24),
                             Request("shared 3", shared, 9),
                             Request("last", "Two moons", 4)};
  lines[1]["body"]["logprobs"] = 2;
  lines[6]["body"]["logprobs"] = 0;
  lines[3]["body"].erase("seed");
  std::string input;
  for (const Json& line : lines) absl::StrAppend(&input, line.dump(), "\n");
  return input;
}

// The files of one job, on a disk of its own.
class CrashingJob {
 public:
  CrashingJob() : folder_(CrashingParent()) { std::ofstream(folder_.Path("in.jsonl")) << Input(); }

  CrashingFiles& files() { return files_; }

  absl::Status Run(const Conditions& conditions) {
    auto job = BatchJob::Open(Options(conditions));
    if (!job.ok()) return job.status();
    if ((*job)->lines_left() > 0) {
      const absl::Status started = (*job)->Start();
      if (!started.ok()) return started;
      (*job)->runner_options().on_status = [](const BatchStatus&) {};
      const auto end = (*job)->Run();
      resumed_positions_ += (*job)->runner().totals().resumed_positions;
      if (!end.ok()) return end.status();
      CHECK(*end == BatchRunner::End::kDone);
    }
    return (*job)->Close();
  }

  // By all processes.
  uint64_t resumed_positions() const { return resumed_positions_; }

  // What a process that starts now will find; whether there are blocks in the journal.
  bool Look(Met* met) {
    ++met->crashes;
    const std::string output = ReadFileToString(output_path());
    met->answered_before += output.find('\n') != std::string::npos;
    met->torn_outputs += !output.empty() && output.back() != '\n';
    const auto journal = Journal::Inspect(&files_, JobFolderOf(output_path()) + kJournalName);
    if (!journal.ok()) return false;
    bool resumed = false, spilled = false;
    for (const auto& [line, in_flight] : (*journal)->in_flight()) {
      resumed |= !in_flight.tokens.empty();
      spilled |= !in_flight.blocks.empty();
    }
    met->resumed += resumed;
    met->spilled += spilled;
    return spilled;
  }

  // By custom_id, without what may differ; each once.
  Answers Read() const {
    Answers answers;
    const std::string output = ReadFileToString(output_path());
    CHECK((output.empty() || output.back() == '\n'));
    for (const absl::string_view line : absl::StrSplit(output, '\n', absl::SkipEmpty())) {
      Json answer = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
      REQUIRE(answer.is_object());
      const std::string id = answer["custom_id"].get<std::string>();
      answer["response"]["body"].erase("created");
      CHECK_MESSAGE(answers.emplace(id, std::move(answer)).second, "answered twice: " << id);
    }
    return answers;
  }

  bool folder_is_gone() const { return !std::filesystem::exists(JobFolderOf(output_path())); }

 private:
  std::string output_path() const { return folder_.Path("out.jsonl"); }

  BatchJobOptions Options(const Conditions& conditions) {
    BatchJobOptions options;
    options.model_path = SLUICE_SOURCE_DIR "/demo/storyteller-q4_k_m.gguf";
    options.input_path = folder_.Path("in.jsonl");
    options.output_path = output_path();
    options.engine.ram_bytes = uint64_t{256} << 20;
    options.engine.threads = 1;
    options.engine.io = IoBackend::kPread;
    options.max_batch = conditions.max_batch;
    options.spill = conditions.spill;
    options.files = &files_;
    options.runner.sync_interval_ns = 0;
    options.runner.draw_seed = [draw = conditions.draw] { return draw; };
    options.runner.unix_seconds = [this] { return ++clock_; };
    return options;
  }

  ScratchFolder folder_;
  CrashingFiles files_;
  int64_t clock_ = 0;
  uint64_t resumed_positions_ = 0;
};

Answers Undisturbed(const Conditions& conditions) {
  CrashingJob job;
  REQUIRE(job.Run(conditions).ok());
  return job.Read();
}

// Changes to the disk that the whole job makes.
uint64_t CrashPoints(const Conditions& conditions) {
  CrashingJob job;
  REQUIRE(job.Run(conditions).ok());
  return job.files().operations();
}

void CheckAnswers(const CrashingJob& job, const Answers& first, const Answers& later, Met* met) {
  const Answers answers = job.Read();
  REQUIRE(answers.size() == first.size());
  for (const auto& entry : answers) {
    const std::string& id = entry.first;
    const Json& answer = entry.second;
    CAPTURE(id);
    // Until it is on the disk nobody knows which seed was drawn.
    const bool is_first = answer == first.at(id);
    CHECK((is_first || (id == "drawn" && answer == later.at(id))));
    met->drawn_before += id == "drawn" && is_first;
  }
  CHECK(job.folder_is_gone());
}

// Cuts the power at change `point` of the job, then of what goes on with it at
// each of `again`, and lets the next one finish.
void CrashAndResume(Conditions conditions, uint64_t point, uint64_t seed, const std::vector<uint64_t>& again,
                    const Answers& first, const Answers& later, Met* met) {
  CAPTURE(point);
  CAPTURE(seed);
  CrashingJob job;
  job.files().CrashAt(point);
  CHECK_FALSE(job.Run(conditions).ok());
  job.files().Crash(seed);
  const bool spilled = job.Look(met);
  conditions.draw = kLaterDraw;
  for (const uint64_t next : again) {
    // Fewer documents at once go on with the same spill, twice as many have their own.
    Conditions other = conditions;
    other.max_batch = next % 2 == 0 ? 2 : 8;
    job.files().CrashAt(next);
    const absl::Status status = job.Run(other);
    if (!job.files().power_is_out()) CHECK_MESSAGE(status.ok(), status.ToString());
    job.files().Crash(seed + next);
  }
  const absl::Status status = job.Run(conditions);
  REQUIRE_MESSAGE(status.ok(), status.ToString());
  met->adopted += spilled && job.resumed_positions() > 0;
  CheckAnswers(job, first, later, met);
}

void CheckEveryCrash(const Conditions& conditions, Met* met) {
  Conditions redrawn = conditions;
  redrawn.draw = kLaterDraw;
  const Answers first = Undisturbed(conditions), later = Undisturbed(redrawn);
  REQUIRE(first.size() == 8);
  CHECK(first.at("drawn") != later.at("drawn"));
  CHECK(first.at("error")["error"].is_object());
  const uint64_t points = CrashPoints(conditions);
  CHECK(points > 60);
  for (uint64_t point = 1; point <= points; ++point) {
    for (const uint64_t seed : {point, 1000 + point}) CrashAndResume(conditions, point, seed, {}, first, later, met);
    if (point % 3 == 0) CrashAndResume(conditions, point, point * 7 + 1, {5 + point % 40}, first, later, met);
  }
}

void CheckNotVacuous(const Met& met, bool spilled) {
  MESSAGE("crashes " << met.crashes << ", resumed " << met.resumed << ", with blocks " << met.spilled << ", adopted "
                     << met.adopted << ", torn outputs " << met.torn_outputs << ", with answers " << met.answered_before
                     << ", seeds kept " << met.drawn_before);
  CHECK(met.crashes > 80);
  CHECK(met.resumed > 20);
  CHECK((met.spilled > 20) == spilled);
  // Not where those documents are answered by now.
  CHECK(4 * met.adopted >= 3 * met.spilled);
  CHECK(met.torn_outputs > 0);
  CHECK(met.answered_before > 20);
  CHECK(met.drawn_before > 20);
  CHECK(met.drawn_before < met.crashes);
}

TEST_CASE("a job cut off at any change to the disk goes on to the same answers") {
  Met met;
  CheckEveryCrash({}, &met);
  CheckNotVacuous(met, false);
}

TEST_CASE("so does one that keeps its keys and values on the disk") {
  Met met;
  Conditions conditions;
  conditions.spill = SpillUse::kAlways;
  CheckEveryCrash(conditions, &met);
  CheckNotVacuous(met, true);
}

TEST_CASE("answers do not depend on the spill or on how many share a sweep") {
  const Answers expected = Undisturbed({});
  CHECK(Undisturbed({SpillUse::kAlways, 4, kFirstDraw}) == expected);
  CHECK(Undisturbed({SpillUse::kAlways, 1, kFirstDraw}) == expected);
  CHECK(Undisturbed({SpillUse::kNever, 8, kFirstDraw}) == expected);
}

}  // namespace
}  // namespace sluice
