// One failed read never changes a bit; a lasting one ends in a clear error.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "storage/faulty_block_reader.h"
#include "tests/gates/harness.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

const char kModel[] = "golden/deepseek2-mla-q8_0/model.gguf";

GateConditions Small() {
  GateConditions conditions;
  conditions.engine.ram_bytes = uint64_t{1} << 30;
  conditions.engine.threads = 1;
  conditions.engine.io = IoBackend::kPread;
  conditions.engine.max_class_slots = 5;
  conditions.engine.max_pinned_pieces = 3;
  conditions.chunk_rows = 2;
  return conditions;
}

struct Faults {
  uint64_t reads = 0;
  uint64_t errors = 0;
};

// Runs with a fault script; tells what the reader saw.
absl::StatusOr<GateRun> RunFaulty(const FaultScript& script, Faults* faults) {
  GateConditions conditions = Small();
  std::shared_ptr<FaultyBlockReader> faulty;
  conditions.engine.wrap_reader = [&](std::unique_ptr<BlockReader> reader) {
    faulty = std::make_shared<FaultyBlockReader>(std::move(reader), script);
    return Share(faulty);
  };
  absl::StatusOr<GateRun> run = RunPrompts(SharedPath(kModel), {{5, 6, 7, 8, 9}}, conditions);
  *faults = {faulty->reads(), faulty->errors()};
  return run;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_CASE("a single read error at any read leaves every bit as it was") {
  SKIP_WITHOUT_SHARED(kModel);
  Faults faults;
  const absl::StatusOr<GateRun> baseline = RunFaulty({}, &faults);
  REQUIRE_MESSAGE(baseline.ok(), baseline.status().ToString());
  CHECK(baseline->counters.pool.evictions > 0);
  const uint64_t reads = faults.reads;
  REQUIRE(reads > 100);
  for (uint64_t n = 1; n <= reads; ++n) {
    CAPTURE(n);
    FaultScript script;
    script.fail_read = n;
    const absl::StatusOr<GateRun> run = RunFaulty(script, &faults);
    REQUIRE_MESSAGE(run.ok(), run.status().ToString());
    // Only a piece read ahead for a sweep that never came may go unread.
    CHECK((faults.errors == 1 || n > reads * 9 / 10));
    CHECK(SameBits(run->logits, baseline->logits));
  }
}

TEST_CASE("a lasting read error at any read ends the run with the file and the offset") {
  SKIP_WITHOUT_SHARED(kModel);
  Faults faults;
  REQUIRE(RunFaulty({}, &faults).ok());
  const uint64_t reads = faults.reads;
  uint64_t with_layer = 0;
  for (uint64_t n = 1; n <= reads; ++n) {
    CAPTURE(n);
    FaultScript script;
    script.fail_read = n;
    script.persistent = true;
    const absl::StatusOr<GateRun> run = RunFaulty(script, &faults);
    if (run.ok()) {
      // Only a piece read ahead for a sweep that never came may go unnoticed.
      CHECK(n > reads * 9 / 10);
      continue;
    }
    const absl::string_view message = run.status().message();
    CAPTURE(std::string(message));
    CHECK(absl::StrContains(message, "model.gguf"));
    CHECK(absl::StrContains(message, "offset"));
    CHECK(faults.errors > 1);
    with_layer += absl::StrContains(message, "layer");
  }
  CHECK(with_layer > reads / 2);
}

TEST_CASE("a file whose last tensor ends in the middle of a block streams to its last byte") {
  SKIP_WITHOUT_SHARED(kModel);
  // The golden files end right after the last tensor, at no multiple of 512.
  const std::string path = SharedPath(kModel);
  REQUIRE(std::filesystem::file_size(path) % 512 != 0);
  Faults faults;
  GateConditions resident = Small();
  resident.engine.max_class_slots = 1 << 30;
  resident.engine.io = IoBackend::kMmap;
  const absl::StatusOr<GateRun> mapped = RunPrompts(path, {{5, 6, 7, 8, 9}}, resident);
  const absl::StatusOr<GateRun> streamed = RunFaulty({}, &faults);
  REQUIRE(mapped.ok());
  REQUIRE(streamed.ok());
  CHECK(SameBits(mapped->logits, streamed->logits));
}

}  // namespace
}  // namespace sluice
