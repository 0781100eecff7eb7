#include "prefetch/routing_recorder.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "tests/scratch_folder.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

RoutingRecorder CreateOrDie(const std::string& path, const RoutingRecorder::Header& header) {
  auto recorder = RoutingRecorder::Create(path);
  REQUIRE_MESSAGE(recorder.ok(), recorder.status().ToString());
  recorder->WriteHeader(header);
  return *std::move(recorder);
}

const RoutingRecorder::Header kHeader = {"a\n\"model\"", 2, 300, 2, {11, 22}};

TEST_CASE("what is recorded is what is read back, sweep by sweep") {
  const ScratchFolder folder;
  RoutingRecorder recorder = CreateOrDie(folder.Path("trace"), kHeader);
  recorder.Record(0, {{0, 5}, {3, 0}}, {1, 2, 2, 299});
  recorder.Record(1, {{0, 5}, {3, 0}}, {7, 8, 0, 1});
  recorder.Record(0, {{0, 6}}, {4, 5});
  recorder.Record(1, {{0, 6}}, {6, 7});
  REQUIRE(recorder.Finish().ok());
  const auto trace = RoutingTrace::Parse(ReadFileToString(folder.Path("trace")));
  REQUIRE_MESSAGE(trace.ok(), trace.status().ToString());
  CHECK(trace->model() == "a \"model\"");
  CHECK(trace->experts() == 300);
  CHECK(trace->record_bytes() == std::vector<uint64_t>{11, 22});
  REQUIRE(trace->tokens().size() == 3);
  CHECK(trace->tokens()[1].sequence == 3);
  CHECK(trace->tokens()[2].position == 6);
  REQUIRE(trace->sweeps() == 2);
  CHECK(trace->EventExperts(0) == absl::Span<const int>({1, 2, 299}));
  CHECK(trace->EventExperts(1) == absl::Span<const int>({0, 1, 7, 8}));
  CHECK(trace->EventExperts(3) == absl::Span<const int>({6, 7}));
}

TEST_CASE("a sweep that was cut short is left out") {
  const ScratchFolder folder;
  RoutingRecorder recorder = CreateOrDie(folder.Path("trace"), kHeader);
  recorder.Record(0, {{0, 0}}, {1, 2});
  recorder.Record(0, {{0, 0}}, {3, 4});
  recorder.Record(1, {{0, 0}}, {5, 6});
  recorder.Record(0, {{0, 1}}, {1, 2});
  REQUIRE(recorder.Finish().ok());
  const auto trace = RoutingTrace::Parse(ReadFileToString(folder.Path("trace")));
  REQUIRE(trace.ok());
  REQUIRE(trace->tokens().size() == 1);
  CHECK(trace->EventExperts(0) == absl::Span<const int>({3, 4}));
}

TEST_CASE("a recorder that is given up leaves no file") {
  const ScratchFolder folder;
  { CreateOrDie(folder.Path("trace"), kHeader).Record(0, {{0, 0}}, {1, 2}); }
  CHECK(std::filesystem::is_empty(folder.Path("")));
}

TEST_CASE("a full drive ends the recording and is told at the end") {
  if (!std::filesystem::exists("/dev/full")) return;
  const ScratchFolder folder;
  std::filesystem::create_symlink("/dev/full", folder.Path("trace.partial"));
  auto recorder = RoutingRecorder::Create(folder.Path("trace"));
  REQUIRE_MESSAGE(recorder.ok(), recorder.status().ToString());
  recorder->WriteHeader(kHeader);
  recorder->Record(0, {{0, 0}}, {1, 2});
  recorder->Record(1, {{0, 0}}, {1, 2});
  const absl::Status status = recorder->Finish();
  CHECK(absl::IsResourceExhausted(status));
  CHECK(status.message().find("trace.partial") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.Path("trace")));
}

}  // namespace
}  // namespace sluice
