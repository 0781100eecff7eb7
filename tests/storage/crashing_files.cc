#include "tests/storage/crashing_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "storage/file_calls.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSectorBytes = 512;

absl::Status PowerIsOut() { return absl::UnavailableError("the power is out"); }

std::string Normal(const std::string& path) {
  std::string normal = fs::absolute(path).lexically_normal().string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal;
}

std::string Contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

bool OneIn(uint64_t n, std::mt19937_64* random) { return (*random)() % n == 0; }

}  // namespace

fs::path CrashingParent() { return fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path(); }

class CrashingFile : public DurableFile {
 public:
  CrashingFile(CrashingFiles* files, int node, uint64_t crashes, std::unique_ptr<DurableFile> real)
      : files_(files), node_(node), crashes_(crashes), real_(std::move(real)) {}

  uint64_t size_bytes() const override { return real_->size_bytes(); }

  absl::Status Append(absl::string_view bytes) override {
    return Change({false, real_->size_bytes(), std::string(bytes)}, [&] { return real_->Append(bytes); });
  }

  absl::Status WriteAt(uint64_t offset, absl::Span<const uint8_t> bytes) override {
    return Change({false, offset, std::string(bytes.begin(), bytes.end())},
                  [&] { return real_->WriteAt(offset, bytes); });
  }

  absl::StatusOr<std::string> ReadAt(uint64_t offset, uint64_t bytes) const override {
    MutexLock lock(&files_->mutex_);
    if (dead()) return PowerIsOut();
    return real_->ReadAt(offset, bytes);
  }

  absl::Status Truncate(uint64_t bytes) override {
    return Change({true, bytes, ""}, [&] { return real_->Truncate(bytes); });
  }

  absl::Status Sync() override {
    MutexLock lock(&files_->mutex_);
    if (dead() || files_->NextChange() != CrashingFiles::Power::kOn) return PowerIsOut();
    CrashingFiles::Node& node = files_->nodes_[node_];
    for (const CrashingFiles::Change& change : node.unsynced) CrashingFiles::Apply(change, &node.synced);
    node.unsynced.clear();
    return absl::OkStatus();
  }

 private:
  bool dead() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(files_->mutex_) {
    return files_->out_ || files_->crashes_ != crashes_;
  }

  template <typename Perform>
  absl::Status Change(CrashingFiles::Change change, const Perform& perform) {
    MutexLock lock(&files_->mutex_);
    if (dead()) return PowerIsOut();
    const CrashingFiles::Power power = files_->NextChange();
    RETURN_IF_ERROR(perform());
    files_->nodes_[node_].unsynced.push_back(std::move(change));
    return power == CrashingFiles::Power::kOn ? absl::OkStatus() : PowerIsOut();
  }

  CrashingFiles* files_;
  int node_;
  uint64_t crashes_;
  std::unique_ptr<DurableFile> real_;
};

void CrashingFiles::CrashAt(uint64_t operation) {
  MutexLock lock(&mutex_);
  crash_at_ = operation == 0 ? 0 : operations_ + operation;
}

uint64_t CrashingFiles::operations() const {
  MutexLock lock(&mutex_);
  return operations_;
}

bool CrashingFiles::power_is_out() const {
  MutexLock lock(&mutex_);
  return out_;
}

void CrashingFiles::ShowStaleBytes() {
  MutexLock lock(&mutex_);
  stale_bytes_ = true;
}

CrashingFiles::Power CrashingFiles::NextChange() {
  if (out_) return Power::kOut;
  ++operations_;
  out_ = operations_ == crash_at_;
  return out_ ? Power::kFailing : Power::kOn;
}

// The node behind a path, 0 when there is none.
int CrashingFiles::Adopt(const std::string& path) {
  const auto found = names_.find(path);
  if (found != names_.end()) return found->second;
  if (!fs::exists(path)) return 0;
  const int id = static_cast<int>(nodes_.size()) + 1;
  Node& node = nodes_[id];
  node.is_folder = fs::is_directory(path);
  if (node.is_folder) folders_.insert(path);
  if (!node.is_folder) node.synced = Contents(path);
  names_[path] = synced_names_[path] = id;
  return id;
}

int CrashingFiles::Create(const std::string& path, bool is_folder) {
  const int id = static_cast<int>(nodes_.size()) + 1;
  nodes_[id].is_folder = is_folder;
  if (is_folder) folders_.insert(path);
  names_[path] = id;
  unsynced_names_.push_back({NameChange::kCreate, "", path, id, 0});
  return id;
}

absl::StatusOr<bool> CrashingFiles::Exists(const std::string& path) {
  MutexLock lock(&mutex_);
  if (out_) return PowerIsOut();
  return host_->Exists(path);
}

absl::StatusOr<std::unique_ptr<const DurableFile>> CrashingFiles::OpenRead(const std::string& path) {
  MutexLock lock(&mutex_);
  if (out_) return PowerIsOut();
  return host_->OpenRead(path);
}

absl::StatusOr<std::unique_ptr<DurableFile>> CrashingFiles::OpenAppend(const std::string& path) {
  return Open(path, false, 0);
}

absl::StatusOr<std::unique_ptr<DurableFile>> CrashingFiles::OpenBlocks(const std::string& path, uint64_t bytes) {
  return Open(path, true, bytes);
}

absl::StatusOr<std::unique_ptr<DurableFile>> CrashingFiles::Open(const std::string& path, bool is_blocks,
                                                                 uint64_t bytes) {
  MutexLock lock(&mutex_);
  const Power power = NextChange();
  if (power == Power::kOut) return PowerIsOut();
  const std::string name = Normal(path);
  const bool was_there = Adopt(name) != 0;  // before the host makes it
  auto real = is_blocks ? host_->OpenBlocks(path, bytes) : host_->OpenAppend(path);
  if (!real.ok()) return real.status();
  const int id = was_there ? names_[name] : Create(name, false);
  if (is_blocks) nodes_[id].unsynced.push_back({true, bytes, ""});
  if (power == Power::kFailing) return PowerIsOut();
  return std::make_unique<CrashingFile>(this, id, crashes_, *std::move(real));
}

absl::Status CrashingFiles::CreateFolder(const std::string& path) {
  MutexLock lock(&mutex_);
  const Power power = NextChange();
  if (power == Power::kOut) return PowerIsOut();
  const bool was_there = Adopt(Normal(path)) != 0;
  RETURN_IF_ERROR(host_->CreateFolder(path));
  if (!was_there) Create(Normal(path), true);
  return power == Power::kOn ? absl::OkStatus() : PowerIsOut();
}

absl::Status CrashingFiles::Rename(const std::string& from, const std::string& to) {
  MutexLock lock(&mutex_);
  const Power power = NextChange();
  if (power == Power::kOut) return PowerIsOut();
  const int node = Adopt(Normal(from));
  const int replaced = Adopt(Normal(to));
  RETURN_IF_ERROR(host_->Rename(from, to));
  SLUICE_CHECK(node != 0 && !nodes_[node].is_folder);
  const NamedChange change = {NameChange::kRename, Normal(from), Normal(to), node, replaced};
  SLUICE_CHECK(Apply(change, &names_));
  unsynced_names_.push_back(change);
  return power == Power::kOn ? absl::OkStatus() : PowerIsOut();
}

absl::Status CrashingFiles::Remove(const std::string& path) {
  MutexLock lock(&mutex_);
  const Power power = NextChange();
  if (power == Power::kOut) return PowerIsOut();
  const int node = Adopt(Normal(path));
  RETURN_IF_ERROR(host_->Remove(path));
  if (node != 0) {
    const NamedChange change = {NameChange::kRemove, "", Normal(path), node, 0};
    SLUICE_CHECK(Apply(change, &names_));
    unsynced_names_.push_back(change);
  }
  return power == Power::kOn ? absl::OkStatus() : PowerIsOut();
}

absl::Status CrashingFiles::SyncFolder(const std::string& path) {
  MutexLock lock(&mutex_);
  if (NextChange() != Power::kOn) return PowerIsOut();
  if (!fs::is_directory(path)) return absl::NotFoundError(path + " is not a folder");
  std::vector<NamedChange> others;
  for (const NamedChange& change : unsynced_names_) {
    if (FolderOf(change.path) != Normal(path)) {
      others.push_back(change);
    } else {
      SLUICE_CHECK(Apply(change, &synced_names_));
    }
  }
  unsynced_names_ = std::move(others);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> CrashingFiles::Lock(const std::string& path) {
  MutexLock lock(&mutex_);
  if (out_) return PowerIsOut();
  return host_->Lock(path);
}

absl::StatusOr<bool> CrashingFiles::IsLocked(const std::string& path) {
  MutexLock lock(&mutex_);
  if (out_) return PowerIsOut();
  return host_->IsLocked(path);
}

// False, and nothing is changed, when what it builds on has not happened.
bool CrashingFiles::Apply(const NamedChange& change, Names* names) {
  const auto there = names->find(change.path);
  const int node_there = there == names->end() ? 0 : there->second;
  switch (change.change) {
    case NameChange::kCreate:
      if (node_there != 0) return false;
      break;
    case NameChange::kRemove:
      if (node_there != change.node) return false;
      names->erase(there);
      return true;
    case NameChange::kRename:
      const auto from = names->find(change.from);
      if (from == names->end() || from->second != change.node || node_there != change.replaced) return false;
      names->erase(from);
      break;
  }
  (*names)[change.path] = change.node;
  return true;
}

void CrashingFiles::Apply(const Change& change, std::string* content) {
  if (change.is_resize) {
    content->resize(change.offset);
    return;
  }
  content->resize(std::max<size_t>(content->size(), change.offset + change.bytes.size()));
  content->replace(change.offset, change.bytes.size(), change.bytes);
}

// Kept, lost, or any pieces of it; where a lost piece would have made the file
// longer, the length may be kept without it.
void CrashingFiles::ApplyTorn(const Change& change, Random* random, std::string* content) const {
  const uint64_t fate = (*random)() % 4;  // 0: kept, 1: lost, else torn
  if (fate == 0 || (change.is_resize && fate == 2)) return Apply(change, content);
  if (fate == 1 || change.is_resize) return;
  const uint64_t end = change.offset + change.bytes.size();
  for (uint64_t begin = change.offset; begin < end;) {
    const uint64_t piece_end = std::min(end, (begin / kSectorBytes + 1) * kSectorBytes);
    if (OneIn(2, random)) {
      Apply({false, begin, change.bytes.substr(begin - change.offset, piece_end - begin)}, content);
    } else if (content->size() < piece_end && OneIn(4, random)) {
      const uint64_t old_bytes = content->size();
      content->resize(piece_end);
      for (uint64_t i = old_bytes; stale_bytes_ && i < piece_end; ++i) (*content)[i] = static_cast<char>((*random)());
    }
    begin = piece_end;
  }
}

CrashingFiles::Names CrashingFiles::NamesAfterCrash(Random* random) const {
  Names names = synced_names_;
  const uint64_t fate = (*random)() % 4;  // 0: all happened, 1: none, else any
  for (const NamedChange& change : unsynced_names_) {
    if (fate == 0 || (fate > 1 && OneIn(2, random))) Apply(change, &names);
  }
  // What lies in a folder goes with it. Parents come before what they hold.
  for (auto name = names.begin(); name != names.end();) {
    const std::string folder = FolderOf(name->first);
    const bool is_lost = folders_.count(folder) != 0 && names.count(folder) == 0;
    name = is_lost ? names.erase(name) : std::next(name);
  }
  return names;
}

void CrashingFiles::SettleContents(Random* random) {
  for (auto& [id, node] : nodes_) {
    for (const Change& change : node.unsynced) ApplyTorn(change, random, &node.synced);
    node.unsynced.clear();
  }
}

// Files are made anew: descriptors from before must not reach them.
void CrashingFiles::WriteOut(const Names& names) const {
  for (const auto& [path, id] : names_) {
    const bool is_kept_folder = nodes_.at(id).is_folder && names.count(path) != 0;
    if (!is_kept_folder) fs::remove_all(path);
  }
  for (const auto& [path, id] : names) {
    const Node& node = nodes_.at(id);
    if (node.is_folder) {
      fs::create_directory(path);
    } else {
      std::ofstream(path, std::ios::binary).write(node.synced.data(), static_cast<std::streamsize>(node.synced.size()));
    }
  }
}

void CrashingFiles::Crash(uint64_t seed) {
  MutexLock lock(&mutex_);
  Random random(seed);
  const Names names = NamesAfterCrash(&random);
  SettleContents(&random);
  WriteOut(names);
  names_ = synced_names_ = names;
  unsynced_names_.clear();
  operations_ = crash_at_ = 0;
  out_ = false;
  ++crashes_;
}

}  // namespace sluice
