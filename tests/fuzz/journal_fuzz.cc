// Arbitrary bytes as the journal of a batch job: refused with one line, or read
// as something that can be opened, rewritten and read again as the same.
//
// The first byte says what the others are: 0, the file; otherwise records of a
// file whose checksums are right, each as its type, its length and its payload.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "src/batch/journal.h"
#include "storage/packed_fields.h"
#include "storage/record_log.h"
#include "tests/storage/memory_files.h"

namespace sluice {
namespace {

constexpr char kPath[] = "out.jsonl.job/journal";

void WriteRecords(absl::string_view bytes, MemoryFiles* files) {
  RecordLogFormat format;
  format.magic = "SLUICEJL";
  const auto log = *RecordLog::Create(files, kPath, format);
  PackedReader reader(bytes);
  while (reader.ok() && !reader.at_end()) {
    const uint8_t type = reader.Take<uint8_t>();
    SLUICE_CHECK(log->Append(type, reader.TakeText()).ok());
  }
  SLUICE_CHECK(log->Seal().ok());
}

bool Same(const InFlight& a, const InFlight& b) {
  bool same = a.seed == b.seed && a.tokens.size() == b.tokens.size() && a.blocks.size() == b.blocks.size();
  for (size_t i = 0; same && i < a.tokens.size(); ++i) {
    same = a.tokens[i].token == b.tokens[i].token && a.tokens[i].top.size() == b.tokens[i].top.size();
  }
  for (size_t i = 0; same && i < a.blocks.size(); ++i) {
    same = a.blocks[i].block == b.blocks[i].block && a.blocks[i].checksum == b.blocks[i].checksum;
  }
  return same;
}

bool Same(const std::map<uint64_t, InFlight>& a, const std::map<uint64_t, InFlight>& b) {
  bool same = a.size() == b.size();
  for (auto i = a.begin(), j = b.begin(); same && i != a.end(); ++i, ++j) {
    same = i->first == j->first && Same(i->second, j->second);
  }
  return same;
}

void CheckOneLine(const absl::Status& status) {
  SLUICE_CHECK(status.message().find("out.jsonl.job") != absl::string_view::npos);
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  MemoryFiles files;
  if (data[0] == 0) {
    files.bytes(kPath) = std::string(bytes);
  } else {
    WriteRecords(bytes, &files);
  }
  const auto found = Journal::Inspect(&files, kPath);
  if (!found.ok()) {
    CheckOneLine(found.status());
    return 0;
  }
  const auto opened = Journal::Open(&files, kPath, (*found)->identity());
  if (!opened.ok()) {
    CheckOneLine(opened.status());
    return 0;
  }
  SLUICE_CHECK(Same((*opened)->in_flight(), (*found)->in_flight()));
  const auto again = Journal::Inspect(&files, kPath);
  SLUICE_CHECK(again.ok() && Same((*again)->in_flight(), (*found)->in_flight()));
  return 0;
}
