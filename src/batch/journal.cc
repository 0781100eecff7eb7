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
//   places    blocks u64, block_bytes u64, sequences u64
//   answers   bytes u64, to which the output has been synced
enum RecordType : uint32_t {
  kIdentity = 1,
  kBegin = 2,
  kTokens = 3,
  kBlocks = 4,
  kDone = 5,
  kPlaces = 6,
  kAnswers = 7
};

// Longer lists go into several records.
constexpr uint64_t kLongRecordBytes = 64 << 10;
constexpr uint64_t kLikelyTokenBytes = 8;
constexpr uint64_t kLongestIdentityBytes = 1 << 20;
// A log is rewritten when it is so many times as long as after the last time.
constexpr uint64_t kGrowth = 4;

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

std::string EncodeAnswers(uint64_t bytes) {
  std::string payload;
  AppendField(&payload, bytes);
  return payload;
}

absl::Status ApplyPlaces(PackedReader reader, SpillPlaces* places) {
  places->blocks = reader.Take<uint64_t>();
  places->block_bytes = reader.Take<uint64_t>();
  places->sequences = reader.Take<uint64_t>();
  return reader.at_end() ? absl::OkStatus() : CannotBeRead("the spill");
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

std::string EncodePlaces(const SpillPlaces& places) {
  std::string payload;
  AppendField(&payload, places.blocks);
  AppendField(&payload, places.block_bytes);
  AppendField(&payload, places.sequences);
  return payload;
}

// Tells the records of a log that count from those of lines that are done or
// began again, and of blocks that lie no longer where they were. Holds a few bytes for each line in flight.
class LiveRecords {
 public:
  // Those that count go to `log`.
  explicit LiveRecords(RecordLog* log) : log_(log) {}

  // First all records in their order,
  absl::Status Note(uint32_t type, absl::string_view payload) {
    ++noted_;
    if (type == kPlaces) return NotePlaces(PackedReader(payload));
    if (type != kBegin && type != kDone) return absl::OkStatus();
    const uint64_t line = PackedReader(payload).Take<uint64_t>();
    if (type == kBegin) begun_[line] = noted_;
    if (type == kDone) begun_.erase(line);
    return absl::OkStatus();
  }

  // then all of them again,
  absl::Status Copy(uint32_t type, absl::string_view payload) {
    ++copied_;
    if (type == kIdentity || type == kDone || type == kAnswers) return absl::OkStatus();
    if (type == kTokens) return CopyTokens(PackedReader(payload));
    if (type == kPlaces) return copied_ == moved_ ? log_->Append(type, EncodePlaces(places_)) : absl::OkStatus();
    if (type == kBlocks && copied_ < moved_) return absl::OkStatus();
    const bool counts = Counts(PackedReader(payload).Take<uint64_t>());
    return counts ? log_->Append(type, payload) : absl::OkStatus();
  }

  // then this.
  absl::Status Finish() {
    if (tokens_.empty()) return absl::OkStatus();
    const absl::Status status = log_->Append(kTokens, tokens_);
    tokens_.clear();
    return status;
  }

 private:
  absl::Status NotePlaces(PackedReader reader) {
    SpillPlaces places;
    RETURN_IF_ERROR(ApplyPlaces(reader, &places));
    if (!places.SameLayout(places_)) moved_ = noted_;
    places_ = places;
    return absl::OkStatus();
  }

  bool Counts(uint64_t line) const {
    const auto begun = begun_.find(line);
    return begun != begun_.end() && begun->second <= copied_;
  }

  // Of many sweeps in one record. Only a line's beginning must stay before its tokens.
  absl::Status CopyTokens(PackedReader reader) {
    while (!reader.at_end()) {
      const uint64_t line = reader.Take<uint64_t>();
      const ChosenToken token = TakeToken(&reader);
      if (!reader.ok()) return CannotBeRead("tokens");
      if (!Counts(line)) continue;
      std::string fields;
      AppendToken(&fields, line, token);
      if (tokens_.size() + fields.size() > kLongRecordBytes) RETURN_IF_ERROR(Finish());
      tokens_ += fields;
    }
    return absl::OkStatus();
  }

  RecordLog* log_;
  std::map<uint64_t, uint64_t> begun_;  // line, its last beginning by number of record
  SpillPlaces places_;                  // the last
  uint64_t moved_ = 0;                  // the first record of that layout
  uint64_t noted_ = 0;
  uint64_t copied_ = 0;
  std::string tokens_;  // not written yet
};

}  // namespace

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(DurableFiles* files, const std::string& path,
                                                       const JobIdentity& identity, uint64_t rewrite_bytes) {
  std::unique_ptr<Journal> journal(new Journal(files, path));
  ASSIGN_OR_RETURN(const bool exists, files->Exists(path));
  if (exists) {
    RETURN_IF_ERROR(journal->Read());
    RETURN_IF_ERROR(CheckSameJob(path, journal->identity_, identity));
  }
  journal->identity_ = identity;
  journal->least_rewrite_bytes_ = rewrite_bytes;
  RETURN_IF_ERROR(journal->Rewrite());
  return journal;
}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Inspect(DurableFiles* files, const std::string& path) {
  std::unique_ptr<Journal> journal(new Journal(files, path));
  RETURN_IF_ERROR(journal->Read());
  return journal;
}

absl::Status Journal::Read() {
  const RecordLogFormat format = Format(path_);
  const auto apply = [this](uint32_t type, absl::string_view payload) { return Apply(type, payload); };
  RETURN_IF_ERROR(RecordLog::Read(files_, path_, format, apply).status());
  if (!identity_.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path_, " does not say which job it belongs to; ", format.cure));
}

absl::Status Journal::Apply(uint32_t type, absl::string_view payload) {
  PackedReader reader(payload);
  if (type == kIdentity) return ApplyIdentity(reader, &identity_);
  if (type == kTokens) return ApplyTokens(reader, &in_flight_);
  if (type == kBlocks) return ApplyBlocks(reader, &in_flight_);
  if (type == kPlaces) {
    SpillPlaces places;
    RETURN_IF_ERROR(ApplyPlaces(reader, &places));
    MoveTo(places);
    return absl::OkStatus();
  }
  if (type == kAnswers) {
    answer_bytes_ = reader.Take<uint64_t>();
    return reader.at_end() ? absl::OkStatus() : CannotBeRead("answers");
  }
  if (type != kBegin && type != kDone) return absl::DataLossError(absl::StrCat("it has a record of type ", type));
  const uint64_t line = reader.Take<uint64_t>();
  const uint64_t seed = type == kBegin ? reader.Take<uint64_t>() : 0;
  if (!reader.at_end()) return CannotBeRead(absl::StrCat("line ", line));
  in_flight_.erase(line);
  if (type == kBegin) in_flight_[line].seed = seed;
  return absl::OkStatus();
}

absl::Status Journal::Rewrite() {
  absl::StatusOr<std::unique_ptr<RecordLog>> log = RecordLog::Create(files_, path_, Format(path_));
  const absl::Status status = log.ok() ? FillAndSeal(log->get()) : log.status();
  if (log.ok() && (*log)->has_name()) {
    log_ = *std::move(log);
    next_rewrite_bytes_ = std::max(least_rewrite_bytes_, kGrowth * log_->size_bytes());
  } else {
    files_->Remove(path_ + ".new").IgnoreError();
  }
  return status;
}

absl::Status Journal::FillAndSeal(RecordLog* log) const {
  RETURN_IF_ERROR(log->Append(kIdentity, EncodeIdentity(identity_)));
  if (answer_bytes_.has_value()) RETURN_IF_ERROR(log->Append(kAnswers, EncodeAnswers(*answer_bytes_)));
  ASSIGN_OR_RETURN(const bool exists, files_->Exists(path_));
  if (exists) RETURN_IF_ERROR(CopyLive(log));
  return log->Seal();
}

// Twice over the file, not from memory: what is in flight is with those who work on it.
absl::Status Journal::CopyLive(RecordLog* log) const {
  const RecordLogFormat format = Format(path_);
  LiveRecords live(log);
  const auto note = [&](uint32_t type, absl::string_view payload) { return live.Note(type, payload); };
  ASSIGN_OR_RETURN(const uint64_t torn_bytes, RecordLog::Read(files_, path_, format, note));
  // What this process has synced reads back whole, or must not be replaced by less.
  const bool is_ours = log_ != nullptr;
  if (is_ours && torn_bytes > 0) return CannotBeRead("what was synced last");
  const auto copy = [&](uint32_t type, absl::string_view payload) { return live.Copy(type, payload); };
  RETURN_IF_ERROR(RecordLog::Read(files_, path_, format, copy).status());
  return live.Finish();
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

void Journal::MoveTo(const SpillPlaces& places) {
  const bool is_same = places.SameLayout(spill_places_);
  spill_places_ = places;
  if (is_same) return;
  for (auto& [line, document] : in_flight_) document.blocks.clear();
}

absl::Status Journal::SpillLayout(const SpillPlaces& places) {
  SLUICE_CHECK(log_ != nullptr);
  RETURN_IF_ERROR(log_->Append(kPlaces, EncodePlaces(places)));
  MoveTo(places);
  return absl::OkStatus();
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

absl::Status Journal::Answers(uint64_t bytes) {
  SLUICE_CHECK(log_ != nullptr);
  answer_bytes_ = bytes;
  return log_->Append(kAnswers, EncodeAnswers(bytes));
}

absl::Status Journal::Sync() {
  SLUICE_CHECK(log_ != nullptr);
  RETURN_IF_ERROR(log_->Sync());
  if (log_->size_bytes() <= next_rewrite_bytes_) return absl::OkStatus();
  if (!Rewrite().ok()) next_rewrite_bytes_ = 2 * log_->size_bytes();
  // The old log is as sound as it was; a new one that may not last says so here.
  return log_->Sync();
}

}  // namespace sluice
