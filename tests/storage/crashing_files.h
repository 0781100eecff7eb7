// A file system whose power can be cut.
//
// Works on real paths, so that what is written can be read by anyone, and
// remembers what the medium holds for certain. After Crash the paths show what a
// machine may find when the power is back: of each write that was not synced any
// pieces of 512 bytes, in any order; of the creations, renames and removals that
// SyncFolder did not make safe any that can have happened without the others. A
// rename is whole or not at all. Files that other hands made count as safe when
// first touched.
//
// Contents are held in memory. Outlives its files; any thread.
#ifndef SLUICE_TESTS_STORAGE_CRASHING_FILES_H_
#define SLUICE_TESTS_STORAGE_CRASHING_FILES_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "storage/durable_files.h"

namespace sluice {

// Where such a file system is quick: in memory, if the host has a place for that.
std::filesystem::path CrashingParent();

class CrashingFiles : public DurableFiles {
 public:
  // The operation-th change from now on (the first is 1) may be half done and fails,
  // as does everything after it. 0: never.
  void CrashAt(uint64_t operation);
  // Changes so far: opened, written, shortened, synced, created, renamed, removed.
  uint64_t operations() const;
  bool power_is_out() const;
  // What the medium holds where nothing was written: other bytes, not zeros alone.
  void ShowStaleBytes();

  // Cuts the power if it is not out yet, and brings it back. Files and locks from
  // before are dead. Counting starts again.
  void Crash(uint64_t seed);

  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<const DurableFile>> OpenRead(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<DurableFile>> OpenAppend(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<DurableFile>> OpenBlocks(const std::string& path, uint64_t bytes) override;
  absl::Status CreateFolder(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncFolder(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::StatusOr<bool> IsLocked(const std::string& path) override;

 private:
  friend class CrashingFile;
  using Random = std::mt19937_64;

  // A write, or with `is_resize` a change of length to `offset`.
  struct Change {
    bool is_resize = false;
    uint64_t offset = 0;
    std::string bytes;
  };
  struct Node {
    bool is_folder = false;
    std::string synced;
    std::vector<Change> unsynced;
  };
  enum class NameChange { kCreate, kRename, kRemove };
  struct NamedChange {
    NameChange change;
    std::string from;  // of a rename
    std::string path;
    int node = 0;
    int replaced = 0;  // by a rename; 0: nothing
  };
  using Names = std::map<std::string, int>;
  enum class Power { kOn, kFailing, kOut };

  Power NextChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int Adopt(const std::string& path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int Create(const std::string& path, bool is_folder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::unique_ptr<DurableFile>> Open(const std::string& path, bool is_blocks, uint64_t bytes);
  static bool Apply(const NamedChange& change, Names* names);
  static void Apply(const Change& change, std::string* content);
  void ApplyTorn(const Change& change, Random* random, std::string* content) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Names NamesAfterCrash(Random* random) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SettleContents(Random* random) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteOut(const Names& names) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<DurableFiles> host_ = HostFiles();
  mutable Mutex mutex_;
  uint64_t operations_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t crash_at_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t crashes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool out_ ABSL_GUARDED_BY(mutex_) = false;
  bool stale_bytes_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<int, Node> nodes_ ABSL_GUARDED_BY(mutex_);
  Names names_ ABSL_GUARDED_BY(mutex_);         // now
  Names synced_names_ ABSL_GUARDED_BY(mutex_);  // for certain
  std::vector<NamedChange> unsynced_names_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> folders_ ABSL_GUARDED_BY(mutex_);  // all that were ever touched
};

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_CRASHING_FILES_H_
