// What a batch job has in flight, on the disk.
//
// The output file is the truth of what is done; the journal holds which job this
// is and, for each request that was begun and is not done, its seed, the tokens
// chosen so far and where its KV is spilled. Records are versioned and
// checksummed; a torn tail is dropped when the journal is opened, anything else
// that does not check is refused with the cure. What is appended is safe after
// Sync. A journal that has grown to several times its size is rewritten without
// what is done, so its length is bounded by what is in flight.
#ifndef SLUICE_SRC_BATCH_JOURNAL_H_
#define SLUICE_SRC_BATCH_JOURNAL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "src/batch/chosen_token.h"
#include "storage/durable_files.h"
#include "storage/record_log.h"

namespace sluice {

// Everything that an answer depends on, as (name, value) pairs, e.g. ("the input
// file", "1234 bytes, 89ab..."), ("the kernel set", "avx512"), ("--kv", "f16").
using JobIdentity = std::vector<std::pair<std::string, std::string>>;

struct SpilledBlock {
  uint32_t block = 0;     // place in the spill
  uint64_t checksum = 0;  // of its bytes in all layers
};

// How blocks lie in the spill.
struct SpillPlaces {
  uint64_t blocks = 0;  // of each layer; 0: nothing has been spilled
  uint64_t block_bytes = 0;
  uint64_t sequences = 0;  // that shared them

  bool SameLayout(const SpillPlaces& other) const { return blocks == other.blocks && block_bytes == other.block_bytes; }
};

struct InFlight {
  uint64_t seed = 0;
  std::vector<ChosenToken> tokens;
  std::vector<SpilledBlock> blocks;  // those that hold the first positions, in order
};

class Journal {
 public:
  // Shorter ones are not rewritten by Sync.
  static constexpr uint64_t kRewriteBytes = 64 << 20;

  struct Chosen {
    uint64_t line = 0;
    const ChosenToken* token = nullptr;
  };

  // Opens the journal at `path`, created for `identity` when absent. One that
  // was written for another job is refused, naming what differs, both values and
  // the cure. What it holds is rewritten without what is done or dropped.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(DurableFiles* files, const std::string& path,
                                                       const JobIdentity& identity,
                                                       uint64_t rewrite_bytes = kRewriteBytes);
  // What a journal at `path` says, for --status; nothing is changed. It cannot be
  // written to.
  static absl::StatusOr<std::unique_ptr<Journal>> Inspect(DurableFiles* files, const std::string& path);

  const JobIdentity& identity() const { return identity_; }
  // By line number, as found when opened. The caller may take it (std::move).
  std::map<uint64_t, InFlight>& in_flight() { return in_flight_; }
  // Where the blocks lie that are told of.
  const SpillPlaces& spill_places() const { return spill_places_; }
  // The output file was so long and synced, as far as is told; it may be longer.
  absl::optional<uint64_t> answer_bytes() const { return answer_bytes_; }

  // Each error leaves the journal as sound as it was; see RecordLog.

  // A line that is in flight already starts again: what was told of it is forgotten.
  absl::Status Begin(uint64_t line, uint64_t seed);
  // The tokens of one sweep, of lines that were begun.
  absl::Status Choose(absl::Span<const Chosen> tokens);
  // From now on blocks lie so; those of another layout are forgotten.
  absl::Status SpillLayout(const SpillPlaces& places);
  // More blocks behind those told before; their bytes have been synced.
  absl::Status Spill(uint64_t line, absl::Span<const SpilledBlock> blocks);
  // Its line in the output has been synced.
  absl::Status Done(uint64_t line);
  // The output has been synced up to there.
  absl::Status Answers(uint64_t bytes);
  // May rewrite the log; one that cannot be rewritten goes on growing.
  absl::Status Sync();

 private:
  Journal(DurableFiles* files, std::string path) : files_(files), path_(std::move(path)) {}

  absl::Status Read();
  absl::Status Apply(uint32_t type, absl::string_view payload);
  // Puts a log that holds what is in flight in the place of the old one, if any.
  // On an error either is whole, and log_ is the one that has the name.
  absl::Status Rewrite();
  absl::Status FillAndSeal(RecordLog* log) const;
  absl::Status CopyLive(RecordLog* log) const;
  void MoveTo(const SpillPlaces& places);

  DurableFiles* files_;
  std::string path_;
  JobIdentity identity_;
  std::map<uint64_t, InFlight> in_flight_;
  SpillPlaces spill_places_;
  absl::optional<uint64_t> answer_bytes_;
  std::unique_ptr<RecordLog> log_;  // none when inspected
  uint64_t least_rewrite_bytes_ = kRewriteBytes;
  uint64_t next_rewrite_bytes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_JOURNAL_H_
