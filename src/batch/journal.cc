#include "src/batch/journal.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status.h"
#include "storage/file_calls.h"
#include "storage/packed_fields.h"

namespace sluice {
namespace {

// What records mean. A record's fields go on until its end:
//   identity  (name text, value text)...
//   begin     line u64, seed u64
//   tokens    (line u64, token i32, logprob f32, count u32, (token i32, logprob f32)...)...
//   blocks    line u64, (block u32, checksum u64)...
//   done      line u64
enum RecordType : uint32_t { kIdentity = 1, kBegin = 2, kTokens = 3, kBlocks = 4, kDone = 5 };

// Longer lists go into several records.
constexpr uint64_t kLongRecordBytes = 64 << 10;
constexpr uint64_t kLikelyTokenBytes = 8;
constexpr uint64_t kLongestIdentityBytes = 1 << 20;

// The folder holds nothing else than the job's state; a journal without one is named itself.
std::string JobPlace(const std::string& path) {
  const std::string folder = FolderOf(path);
  return folder == "." || folder == "/" ? path : folder;
}

RecordLogFormat Format(const std::string& path) {
  RecordLogFormat format;
  format.magic = "SLUICEJL";
  format.version = 1;
  format.name = "the journal of a batch job";
  format.cure = absl::StrCat("delete ", JobPlace(path),
                             ": documents in flight start again, the answers in the output file are kept");
  return format;
}

void AppendToken(std::string* out, uint64_t line, const ChosenToken& token) {
  AppendField(out, line);
  AppendField(out, token.token);
  AppendField(out, token.logprob);
  AppendField(out, static_cast<uint32_t>(token.top.size()));
  for (const TokenLogprob& likely : token.top) {
    AppendField(out, likely.token);
    AppendField(out, likely.logprob);
  }
}

// Nothing of it may be trusted unless the reader is still ok.
ChosenToken TakeToken(PackedReader* reader) {
  ChosenToken token;
  token.token = reader->Take<int32_t>();
  token.logprob = reader->Take<float>();
  token.top.resize(reader->TakeCount(kLikelyTokenBytes));
  for (TokenLogprob& likely : token.top) {
    likely.token = reader->Take<int32_t>();
    likely.logprob = reader->Take<float>();
  }
  return token;
}

absl::Status CannotBeRead(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("its record of ", what, " cannot be read"));
}

absl::StatusOr<InFlight*> FindInFlight(std::map<uint64_t, InFlight>* in_flight, uint64_t line) {
  const auto found = in_flight->find(line);
  if (found != in_flight->end()) return &found->second;
  return absl::DataLossError(absl::StrCat("it goes on with line ", line, ", which was not begun"));
}

absl::Status ApplyIdentity(PackedReader reader, JobIdentity* identity) {
  if (!identity->empty()) return absl::DataLossError("it names its job twice");
  while (reader.ok() && !reader.at_end()) {
    const absl::string_view name = reader.TakeText();
    identity->emplace_back(name, reader.TakeText());
  }
  return reader.ok() ? absl::OkStatus() : CannotBeRead("the job");
}

absl::Status ApplyTokens(PackedReader reader, std::map<uint64_t, InFlight>* in_flight) {
  while (!reader.at_end()) {
    const uint64_t line = reader.Take<uint64_t>();
    ChosenToken token = TakeToken(&reader);
    if (!reader.ok()) return CannotBeRead("tokens");
    ASSIGN_OR_RETURN(InFlight * document, FindInFlight(in_flight, line));
    document->tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status ApplyBlocks(PackedReader reader, std::map<uint64_t, InFlight>* in_flight) {
  const uint64_t line = reader.Take<uint64_t>();
  ASSIGN_OR_RETURN(InFlight * document, FindInFlight(in_flight, line));
  while (!reader.at_end()) {
    SpilledBlock block;
    block.block = reader.Take<uint32_t>();
    block.checksum = reader.Take<uint64_t>();
    if (!reader.ok()) return CannotBeRead("blocks");
    document->blocks.push_back(block);
  }
  return absl::OkStatus();
}

const std::string* FindValue(const JobIdentity& identity, const std::string& name) {
  for (const auto& [other, value] : identity) {
    if (other == name) return &value;
  }
  return nullptr;
}

absl::Status CheckSameJob(const std::string& path, const JobIdentity& made, const JobIdentity& asked) {
  std::vector<std::string> differences;
  for (const auto& [name, value] : asked) {
    const std::string* const other = FindValue(made, name);
    if (other == nullptr) {
      differences.push_back(absl::StrCat("without ", name, ", this command says ", value));
    } else if (*other != value) {
      differences.push_back(absl::StrCat("with ", name, " ", *other, ", this command says ", value));
    }
  }
  for (const auto& [name, value] : made) {
    if (FindValue(asked, name) != nullptr) continue;
    differences.push_back(absl::StrCat("with ", name, " ", value, ", this command is without"));
  }
  if (differences.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the job in ", JobPlace(path), " was made ",
                                                    absl::StrJoin(differences, ", and "),
                                                    "; give the same, or another -o to start a new job"));
}

std::string EncodeIdentity(const JobIdentity& identity) {
  std::string payload;
  for (const auto& [name, value] : identity) {
    AppendTextField(&payload, name);
    AppendTextField(&payload, value);
  }
  SLUICE_CHECK(!payload.empty() && payload.size() <= kLongestIdentityBytes);
  return payload;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(DurableFiles* files, const std::string& path,
                                                       const JobIdentity& identity) {
  std::unique_ptr<Journal> journal(new Journal());
  ASSIGN_OR_RETURN(const bool exists, files->Exists(path));
  if (exists) {
    RETURN_IF_ERROR(journal->Read(files, path));
    RETURN_IF_ERROR(CheckSameJob(path, journal->identity_, identity));
  }
  journal->identity_ = identity;
  const absl::Status status = journal->Rewrite(files, path);
  if (status.ok()) return journal;
  files->Remove(path + ".new").IgnoreError();
  return status;
}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Inspect(DurableFiles* files, const std::string& path) {
  std::unique_ptr<Journal> journal(new Journal());
  RETURN_IF_ERROR(journal->Read(files, path));
  return journal;
}

absl::Status Journal::Read(DurableFiles* files, const std::string& path) {
  const RecordLogFormat format = Format(path);
  ASSIGN_OR_RETURN(dropped_bytes_, RecordLog::Read(files, path, format, [this](uint32_t type, absl::string_view bytes) {
                     return Apply(type, bytes);
                   }));
  if (!identity_.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, " does not say which job it belongs to; ", format.cure));
}

absl::Status Journal::Apply(uint32_t type, absl::string_view payload) {
  PackedReader reader(payload);
  if (type == kIdentity) return ApplyIdentity(reader, &identity_);
  if (type == kTokens) return ApplyTokens(reader, &in_flight_);
  if (type == kBlocks) return ApplyBlocks(reader, &in_flight_);
  if (type != kBegin && type != kDone) return absl::DataLossError(absl::StrCat("it has a record of type ", type));
  const uint64_t line = reader.Take<uint64_t>();
  const uint64_t seed = type == kBegin ? reader.Take<uint64_t>() : 0;
  if (!reader.at_end()) return CannotBeRead(absl::StrCat("line ", line));
  in_flight_.erase(line);
  if (type == kBegin) in_flight_[line].seed = seed;
  return absl::OkStatus();
}

absl::Status Journal::Rewrite(DurableFiles* files, const std::string& path) {
  ASSIGN_OR_RETURN(log_, RecordLog::Create(files, path, Format(path)));
  RETURN_IF_ERROR(log_->Append(kIdentity, EncodeIdentity(identity_)));
  RETURN_IF_ERROR(WriteInFlight());
  return log_->Seal();
}

absl::Status Journal::WriteInFlight() {
  std::vector<Chosen> tokens;
  for (const auto& [line, document] : in_flight_) {
    RETURN_IF_ERROR(Begin(line, document.seed));
    tokens.clear();
    for (const ChosenToken& token : document.tokens) tokens.push_back({line, &token});
    RETURN_IF_ERROR(Choose(tokens));
    RETURN_IF_ERROR(Spill(line, document.blocks));
  }
  return absl::OkStatus();
}

absl::Status Journal::Begin(uint64_t line, uint64_t seed) {
  SLUICE_CHECK(log_ != nullptr);
  std::string payload;
  AppendField(&payload, line);
  AppendField(&payload, seed);
  return log_->Append(kBegin, payload);
}

absl::Status Journal::Choose(absl::Span<const Chosen> tokens) {
  SLUICE_CHECK(log_ != nullptr);
  std::string payload;
  for (const Chosen& chosen : tokens) {
    AppendToken(&payload, chosen.line, *chosen.token);
    if (payload.size() < kLongRecordBytes) continue;
    RETURN_IF_ERROR(log_->Append(kTokens, payload));
    payload.clear();
  }
  return payload.empty() ? absl::OkStatus() : log_->Append(kTokens, payload);
}

absl::Status Journal::Spill(uint64_t line, absl::Span<const SpilledBlock> blocks) {
  SLUICE_CHECK(log_ != nullptr);
  constexpr size_t kBlocksPerRecord = 4096;
  for (size_t begin = 0; begin < blocks.size(); begin += kBlocksPerRecord) {
    std::string payload;
    AppendField(&payload, line);
    for (const SpilledBlock& block : blocks.subspan(begin, kBlocksPerRecord)) {
      AppendField(&payload, block.block);
      AppendField(&payload, block.checksum);
    }
    RETURN_IF_ERROR(log_->Append(kBlocks, payload));
  }
  return absl::OkStatus();
}

absl::Status Journal::Done(uint64_t line) {
  SLUICE_CHECK(log_ != nullptr);
  std::string payload;
  AppendField(&payload, line);
  return log_->Append(kDone, payload);
}

absl::Status Journal::Sync() {
  SLUICE_CHECK(log_ != nullptr);
  return log_->Sync();
}

}  // namespace sluice
