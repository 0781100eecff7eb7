// What a batch job keeps on the disk: the answers, and a folder beside them for
// what is in flight.
//
//   OUT.jsonl               answers, whole lines, the truth of what is done
//   OUT.jsonl.job/lock      held by the one process that works on the job
//   OUT.jsonl.job/journal   src/batch/journal.h
//   OUT.jsonl.job/kv        the KV spill; its layout is the plan's, its blocks are told by the journal
//
// Order on the disk: KV before the journal's record that tells of it, an answer
// before the record that it is done. The folder goes when the job is done. One
// thread.
#ifndef SLUICE_SRC_BATCH_JOB_STORE_H_
#define SLUICE_SRC_BATCH_JOB_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/batch/journal.h"
#include "src/batch/output_file.h"
#include "storage/durable_files.h"

namespace sluice {

// Where a job with this output keeps what is in flight, and what lies there.
std::string JobFolderOf(const std::string& output_path);
inline constexpr char kLockName[] = "/lock";
inline constexpr char kJournalName[] = "/journal";
inline constexpr char kSpillName[] = "/kv";

class JobStore {
 public:
  // Takes the lock, then opens the journal for `identity`; FailedPrecondition when
  // another process works on the job or it was begun as another one. The output
  // is not touched.
  static absl::StatusOr<std::unique_ptr<JobStore>> Open(DurableFiles* files, const std::string& output_path,
                                                        const JobIdentity& identity);
  // Cuts what a crash left of the output's last line and shows the others to `visit`.
  absl::Status OpenOutput(const std::function<absl::Status(absl::string_view line)>& visit);

  DurableFiles* files() { return files_; }
  Journal* journal() { return journal_.get(); }
  const std::string& folder() const { return folder_; }

  // What a crash left of the output's last lines, cut when it was opened.
  uint64_t cut_bytes() const { return output_->cut_bytes(); }
  // Whether there was no journal: this process is the job's first.
  bool is_new() const { return is_new_; }

  // Writes answers, safe when this returns, and tells the journal.
  absl::Status Finish(absl::Span<const uint64_t> lines, absl::string_view answers);
  // The job is done: the folder goes. Nothing may follow.
  absl::Status RemoveFolder();

 private:
  JobStore(DurableFiles* files, std::string output_path);

  DurableFiles* files_;
  std::string output_path_;
  std::string folder_;
  std::unique_ptr<FileLock> lock_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<OutputFile> output_;
  bool is_new_ = false;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_JOB_STORE_H_
