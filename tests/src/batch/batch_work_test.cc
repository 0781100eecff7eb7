#include "src/batch/batch_work.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/scratch_folder.h"
#include "tests/src/text/small_vocabulary.h"

namespace sluice {
namespace {

std::string Line(const std::string& id, const std::string& body) {
  return absl::StrCat("{\"custom_id\":\"", id, "\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":", body,
                      "}\n");
}

// Of `tokens` tokens and the BOS.
std::string Body(int tokens, const std::string& more = "") {
  return absl::StrCat("{\"prompt\":\"", std::string(static_cast<size_t>(tokens), 'x'), "\"", more, "}");
}

// A job of a model with the small vocabulary.
class Job {
 public:
  explicit Job(const std::string& input, TokenLimits limits = {1000, 100, absl::nullopt}) : limits_(limits) {
    std::ofstream(folder_.Path("in.jsonl")) << input;
    auto work = BatchWork::Open(folder_.Path("in.jsonl"));
    REQUIRE_MESSAGE(work.ok(), work.status().ToString());
    work_.emplace(*std::move(work));
  }

  BatchWork& work() { return *work_; }
  TokenLimits& limits() { return limits_; }
  const BatchWork::Demand& Demand(size_t index) {
    REQUIRE(work_->Measure(encoder_, limits_, [](uint64_t, uint64_t) {}).ok());
    return work_->demand(index);
  }
  absl::variant<EncodedRequest, RefusedRequest> Take(size_t index) {
    auto taken = work_->Take(index, encoder_, limits_);
    REQUIRE_MESSAGE(taken.ok(), taken.status().ToString());
    return *std::move(taken);
  }
  EncodedRequest Served(size_t index) {
    auto taken = Take(index);
    if (const auto* refused = absl::get_if<RefusedRequest>(&taken)) FAIL(refused->error.message);
    return absl::get<EncodedRequest>(std::move(taken));
  }
  RefusedRequest Refused(size_t index) {
    auto taken = Take(index);
    REQUIRE(absl::holds_alternative<RefusedRequest>(taken));
    return absl::get<RefusedRequest>(std::move(taken));
  }
  const PromptEncoder& encoder() const { return encoder_; }

 private:
  ScratchFolder folder_;
  GgufMetadata metadata_ = SmallVocabulary("gpt-2");
  Tokenizer tokenizer_ = *Tokenizer::Create(metadata_);
  PromptEncoder encoder_{metadata_, &tokenizer_, kSmallSize};
  TokenLimits limits_;
  absl::optional<BatchWork> work_;
};

DoneLine Done(uint64_t line, const std::string& id) {
  DoneLine done;
  done.line = line;
  done.custom_id = id;
  return done;
}

TEST_CASE("a request comes with its tokens and the length it asks for") {
  Job job(Line("a", Body(3, ",\"max_tokens\":7,\"seed\":5")));
  const EncodedRequest request = job.Served(0);
  CHECK(request.custom_id == "a");
  CHECK(request.prompt == std::vector<int32_t>{kSmallBos, 'x', 'x', 'x'});
  CHECK(request.max_tokens == 7);
  CHECK(request.request.seed == 5);
  const BatchWork::Demand& demand = job.Demand(0);
  CHECK(demand.prompt_tokens == 4);
  CHECK(demand.max_tokens == 7);
  CHECK(demand.positions() == 10);
  CHECK(demand.memory_bytes > 7 * sizeof(ChosenToken));
}

TEST_CASE("a length that nobody asked for is 1024 and ends with the context") {
  Job job(Line("a", Body(3)), {10000, 10000, absl::nullopt});
  CHECK(job.Served(0).max_tokens == 1024);
  job.limits().context_length = 100;
  CHECK(job.Served(0).max_tokens == 96);
  job.limits().context_length = 5;
  CHECK(job.Served(0).max_tokens == 1);
  job.limits().context_length = 4;
  CHECK(job.Refused(0).error.code == "context_length_exceeded");
}

TEST_CASE("the command's max-tokens bounds what requests say and stands where they say nothing") {
  Job job(Line("a", Body(3)) + Line("b", Body(3, ",\"max_tokens\":7")) + Line("c", Body(3, ",\"max_tokens\":70")));
  job.limits().max_tokens = 20;
  CHECK(job.Served(0).max_tokens == 20);
  CHECK(job.Served(1).max_tokens == 7);
  CHECK(job.Served(2).max_tokens == 20);
}

TEST_CASE("an answer that was asked for longer than the context is refused, to the token") {
  Job job(Line("a", Body(3, ",\"max_tokens\":96")) + Line("b", Body(3, ",\"max_tokens\":97")) +
          Line("c", Body(3, ",\"max_tokens\":9223372036854775807")) + Line("d", Body(200, ",\"max_tokens\":1")));
  CHECK(job.Served(0).max_tokens == 96);
  for (size_t index : {1, 2, 3}) {
    const RefusedRequest refused = job.Refused(index);
    CHECK(refused.error.code == "context_length_exceeded");
    CHECK(absl::StrContains(refused.error.message, "context of 100 tokens"));
    CHECK(job.Demand(index).max_tokens == 0);
    CHECK(job.Demand(index).positions() == 0);
  }
}

TEST_CASE("what the budget has no room for is refused with the cure, to the position") {
  Job job(Line("a", Body(3, ",\"max_tokens\":20")));
  job.limits().most_positions = 23;  // the last token's keys serve nobody
  CHECK(job.Served(0).max_tokens == 20);
  job.limits().most_positions = 22;
  const ApiError error = job.Refused(0).error;
  CHECK(error.code == "kv_budget_exceeded");
  CHECK(absl::StrContains(error.message, "23 positions"));
  CHECK(absl::StrContains(error.message, "--ram"));
}

TEST_CASE("lines that are no requests are refused by name where they have one") {
  Job job(absl::StrCat("no json\n", Line("a", "{}"), "\n  \n{\"custom_id\":\"b\"}\r\n", Line("c", Body(1))));
  REQUIRE(job.work().lines() == 4);
  CHECK_FALSE(job.Refused(0).custom_id.has_value());
  CHECK(job.Refused(1).custom_id == "a");
  CHECK(job.Refused(2).custom_id == "b");
  CHECK(job.Served(3).custom_id == "c");
  CHECK(job.work().input().number(3) == 6);
}

TEST_CASE("the second line with a custom_id is refused, sound or not, and the first is served") {
  Job job(Line("a", Body(1)) + Line("b", Body(1)) + Line("a", Body(2)) + Line("a", "{}"));
  CHECK(job.Served(0).custom_id == "a");
  CHECK(job.Served(1).custom_id == "b");
  for (size_t index : {2, 3}) {
    CHECK(job.Refused(index).custom_id == "a");
    CHECK(job.Refused(index).error.code == "duplicate_custom_id");
    CHECK(job.Demand(index).max_tokens == 0);
  }
}

TEST_CASE("a line whose answer is in the output is done and asks for nothing") {
  Job job(absl::StrCat("\n", Line("a", Body(1)), Line("b", Body(1)), Line("b", Body(1))));
  REQUIRE(job.work().MarkDone(Done(2, "a")).ok());
  REQUIRE(job.work().MarkDone(Done(2, "a")).ok());
  REQUIRE(job.work().MarkDone(Done(4, "b")).ok());
  CHECK(job.work().lines_done() == 2);
  CHECK(job.work().done(0));
  CHECK_FALSE(job.work().done(1));
  CHECK(job.work().done(2));
  CHECK(job.Demand(0).max_tokens == 0);
  CHECK(job.Demand(1).max_tokens > 0);
}

TEST_CASE("an output with another request in a line belongs to another job") {
  Job job(absl::StrCat("\n", Line("a", Body(1)), "no json\n"));
  DoneLine nameless;
  nameless.line = 3;
  CHECK(job.work().MarkDone(nameless).ok());
  nameless.line = 2;
  for (const DoneLine& other : {Done(1, "a"), Done(2, "b"), Done(3, "a"), Done(4, "a"), Done(0, "a"), nameless}) {
    const absl::Status status = job.work().MarkDone(other);
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK(absl::StrContains(status.message(), "-o"));
  }
  CHECK(job.work().lines_done() == 1);
}

TEST_CASE("measuring tells how far it is and which line is the longest") {
  Job job(Line("a", Body(1)) + Line("b", Body(90)) + Line("c", Body(2)));
  std::vector<uint64_t> told;
  const auto progress = [&](uint64_t done, uint64_t total) {
    CHECK(total == 3);
    told.push_back(done);
  };
  REQUIRE(job.work().Measure(job.encoder(), job.limits(), progress).ok());
  CHECK(told == std::vector<uint64_t>{0, 1, 2, 3});
  CHECK(job.work().longest_line_bytes() == Line("b", Body(90)).size() - 1);
  CHECK(job.work().memory_bytes() >= 3 * sizeof(BatchWork::Demand));
}

TEST_CASE("an input without a request is a job without work") {
  for (const char* const input : {"", "\n\n", " \r\n"}) {
    Job job(input);
    CHECK(job.work().lines() == 0);
    CHECK(job.work().lines_done() == 0);
  }
}

TEST_CASE("an input that is not there is named") {
  const auto work = BatchWork::Open("/nonexistent/in.jsonl");
  CHECK(absl::IsNotFound(work.status()));
  CHECK(absl::StrContains(work.status().message(), "/nonexistent/in.jsonl"));
}

}  // namespace
}  // namespace sluice
