#include "src/batch/job_store.h"

#include <utility>

#include "base/status.h"
#include "storage/file_calls.h"

namespace sluice {

std::string JobFolderOf(const std::string& output_path) { return output_path + ".job"; }

JobStore::JobStore(DurableFiles* files, std::string output_path)
    : files_(files), output_path_(std::move(output_path)), folder_(JobFolderOf(output_path_)) {}

absl::StatusOr<std::unique_ptr<JobStore>> JobStore::Open(DurableFiles* files, const std::string& output_path,
                                                         const JobIdentity& identity) {
  std::unique_ptr<JobStore> store(new JobStore(files, output_path));
  RETURN_IF_ERROR(files->CreateFolder(store->folder_));
  ASSIGN_OR_RETURN(store->lock_, files->Lock(store->folder_ + kLockName));
  ASSIGN_OR_RETURN(const bool is_begun, files->Exists(store->folder_ + kJournalName));
  store->is_new_ = !is_begun;
  ASSIGN_OR_RETURN(store->journal_, Journal::Open(files, store->folder_ + kJournalName, identity));
  RETURN_IF_ERROR(files->SyncFolder(FolderOf(output_path)));
  return store;
}

absl::Status JobStore::OpenOutput(const std::function<absl::Status(absl::string_view line)>& visit) {
  ASSIGN_OR_RETURN(output_, OutputFile::Open(files_, output_path_, visit, journal_->answer_bytes()));
  RETURN_IF_ERROR(journal_->Answers(output_->synced_bytes()));
  return files_->SyncFolder(FolderOf(output_path_));
}

absl::Status JobStore::Finish(absl::Span<const uint64_t> lines, absl::string_view answers) {
  if (lines.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(output_->Append(answers));
  RETURN_IF_ERROR(output_->Sync());
  for (const uint64_t line : lines) RETURN_IF_ERROR(journal_->Done(line));
  return journal_->Answers(output_->synced_bytes());
}

absl::Status JobStore::RemoveFolder() {
  journal_.reset();
  for (const char* name : {kSpillName, kJournalName, kLockName}) RETURN_IF_ERROR(files_->Remove(folder_ + name));
  lock_.reset();
  RETURN_IF_ERROR(files_->Remove(folder_));
  return files_->SyncFolder(FolderOf(output_path_));
}

}  // namespace sluice
