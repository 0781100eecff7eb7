#include "storage/durable_files.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "base/aligned_buffer.h"
#include "tests/scratch_folder.h"
#include "tests/storage/scratch_files.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

constexpr uint64_t kBlock = 4096;

std::unique_ptr<DurableFile> AppendOrDie(DurableFiles* files, const std::string& path) {
  auto file = files->OpenAppend(path);
  REQUIRE_MESSAGE(file.ok(), file.status().ToString());
  return *std::move(file);
}

std::unique_ptr<DurableFile> BlocksOrDie(DurableFiles* files, const std::string& path, uint64_t bytes) {
  auto file = files->OpenBlocks(path, bytes);
  REQUIRE_MESSAGE(file.ok(), file.status().ToString());
  return *std::move(file);
}

bool Says(const absl::Status& status, const std::string& text) {
  return status.message().find(text) != absl::string_view::npos;
}

// No file may grow past `bytes` while this lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_action_ = signal(SIGXFSZ, SIG_IGN);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &old_limit_) == 0);
    rlimit limit = old_limit_;
    limit.rlim_cur = bytes;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_limit_);
    signal(SIGXFSZ, old_action_);
  }

 private:
  rlimit old_limit_;
  void (*old_action_)(int);
};

TEST_CASE("what is appended is there when the file is opened again, behind what was") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  const std::string path = folder.Path("log");
  {
    const auto file = AppendOrDie(files.get(), path);
    CHECK(file->size_bytes() == 0);
    REQUIRE(file->Append("one ").ok());
    REQUIRE(file->Append("two").ok());
    REQUIRE(file->Sync().ok());
    CHECK(file->size_bytes() == 7);
  }
  const auto file = AppendOrDie(files.get(), path);
  CHECK(file->size_bytes() == 7);
  const std::string three = "THREE";
  REQUIRE(file->WriteAt(2, {reinterpret_cast<const uint8_t*>(three.data()), three.size()}).ok());
  CHECK(*file->ReadAt(1, 100) == "nTHREE");
  CHECK(*file->ReadAt(0, 2) == "on");
  CHECK(*file->ReadAt(7, 5) == "");
  CHECK(*file->ReadAt(100, 5) == "");
  REQUIRE(file->Truncate(2).ok());
  REQUIRE(file->Append("!").ok());
  CHECK(ReadFileToString(path) == "on!");
  REQUIRE(files->SyncFolder(folder.path()).ok());
}

TEST_CASE("a new file can be read by those whom the mask allows") {
  const ScratchFolder folder;
  const mode_t old_mask = umask(027);
  AppendOrDie(HostFiles().get(), folder.Path("log"));
  umask(old_mask);
  struct stat info;
  REQUIRE(stat(folder.Path("log").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
}

TEST_CASE("a block file has its size at once and its blocks come back at any offset") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  const std::string path = folder.Path("spill");
  AlignedBuffer block = *AlignedBuffer::Create(2 * kBlock);
  for (uint64_t i = 0; i < 2 * kBlock; ++i) block.data()[i] = ScratchByte(0, i);
  {
    const auto file = BlocksOrDie(files.get(), path, 8 * kBlock);
    CHECK(std::filesystem::file_size(path) == 8 * kBlock);
    REQUIRE(file->WriteAt(3 * kBlock, {block.data(), 2 * kBlock}).ok());
    REQUIRE(file->Sync().ok());
    CHECK(*file->ReadAt(0, kBlock) == std::string(kBlock, '\0'));
    for (const uint64_t shift : {0, 1, 511, 4095, 4097}) {
      const auto bytes = file->ReadAt(3 * kBlock + shift, 1000);
      REQUIRE(bytes.ok());
      CHECK(*bytes == std::string(reinterpret_cast<const char*>(block.data()) + shift, 1000));
    }
    CHECK(file->ReadAt(8 * kBlock - 10, 100)->size() == 10);
    CHECK_FALSE(file->Append("x").ok());
  }
  const auto shorter = BlocksOrDie(files.get(), path, 4 * kBlock);
  CHECK(std::filesystem::file_size(path) == 4 * kBlock);
  CHECK(std::memcmp(shorter->ReadAt(3 * kBlock, kBlock)->data(), block.data(), kBlock) == 0);
  const auto longer = BlocksOrDie(files.get(), path, 6 * kBlock);
  CHECK(std::memcmp(longer->ReadAt(3 * kBlock, kBlock)->data(), block.data(), kBlock) == 0);
  CHECK(*longer->ReadAt(4 * kBlock, kBlock) == std::string(kBlock, '\0'));
  CHECK(OpenOrDie(IoBackend::kPread, {path}, 1) != nullptr);
}

TEST_CASE("block files work in memory, too, where nothing can bypass the cache") {
  if (!std::filesystem::is_directory("/dev/shm")) {
    MESSAGE("SKIP: there is no /dev/shm");
    return;
  }
  const ScratchFolder folder("/dev/shm");
  const auto file = BlocksOrDie(HostFiles().get(), folder.Path("spill"), 2 * kBlock);
  AlignedBuffer block = *AlignedBuffer::Create(kBlock);
  block.data()[7] = 'x';
  REQUIRE(file->WriteAt(kBlock, {block.data(), kBlock}).ok());
  REQUIRE(file->Sync().ok());
  CHECK(*file->ReadAt(kBlock + 7, 1) == "x");
}

TEST_CASE("space that is not there is said when a block file is opened, and how much is needed") {
  const ScratchFolder folder;
  const std::string path = folder.Path("spill");
  const auto refused = HostFiles()->OpenBlocks(path, uint64_t{1} << 60);
  CHECK(absl::IsResourceExhausted(refused.status()));
  CHECK(Says(refused.status(), path + " needs 1099511627776.0 MiB more and the file system has "));
  CHECK(Says(refused.status(), "free some space there"));
  CHECK(std::filesystem::file_size(path) == 0);
}

TEST_CASE("a write that does not fit says so with the cure, and the file can be cut to what it was") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  const std::string path = folder.Path("log");
  const auto file = AppendOrDie(files.get(), path);
  REQUIRE(file->Append("sound").ok());
  {
    const FileSizeLimit limit(kBlock);
    const absl::Status status = file->Append(std::string(2 * kBlock, 'x'));
    REQUIRE_FALSE(status.ok());
    CHECK(Says(status, "cannot write " + path + ": File too large; the file system or `ulimit -f`"));
    CHECK(file->size_bytes() == std::filesystem::file_size(path));
    REQUIRE(file->Truncate(5).ok());
    REQUIRE(file->Append(".").ok());
    CHECK_FALSE(files->OpenBlocks(folder.Path("spill"), 2 * kBlock).ok());
  }
  CHECK(ReadFileToString(path) == "sound.");
}

TEST_CASE("a lock is held by one at a time and is free again when given back") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  const std::string path = folder.Path("lock");
  auto first = files->Lock(path);
  REQUIRE(first.ok());
  const auto second = HostFiles()->Lock(path);
  CHECK(absl::IsFailedPrecondition(second.status()));
  CHECK(Says(second.status(), "another process holds " + path));
  first->reset();
  CHECK(files->Lock(path).ok());
}

TEST_CASE("whether a lock is held can be asked without holding it, also of a file that may not be written") {
  const ScratchFolder folder;
  const auto files = HostFiles(), others = HostFiles();
  const std::string path = folder.Path("lock");
  CHECK_FALSE(*files->IsLocked(path));
  CHECK(folder.empty());
  auto lock = files->Lock(path);
  REQUIRE(lock.ok());
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  CHECK(*files->IsLocked(path));
  CHECK(*others->IsLocked(path));
  // Asking has not given it back.
  CHECK(*files->IsLocked(path));
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  CHECK_FALSE(files->Lock(path).ok());
  lock->reset();
  CHECK_FALSE(*files->IsLocked(path));
  CHECK_FALSE(*files->IsLocked(folder.Path("none/lock")));
}

TEST_CASE("a lock is seen by other processes, and asking is never in the way of one that takes it") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  const std::string path = folder.Path("lock");
  auto lock = files->Lock(path);
  REQUIRE(lock.ok());
  const auto asked_by_child = [&] {
    const pid_t child = fork();
    if (child == 0) _exit(*HostFiles()->IsLocked(path) ? 7 : 8);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WEXITSTATUS(status);
  };
  CHECK(asked_by_child() == 7);
  lock->reset();
  CHECK(asked_by_child() == 8);
  std::atomic<bool> done{false};
  std::atomic<int> asked{0};
  std::thread asking([&] {
    for (; !done; ++asked) (void)HostFiles()->IsLocked(path).ok();
  });
  int refused = 0;
  for (int i = 0; i < 2000 || asked < 100; ++i) refused += files->Lock(path).ok() ? 0 : 1;
  done = true;
  asking.join();
  CHECK(refused == 0);
}

TEST_CASE("a file that is opened to be read must be there, and stays as it is") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  const std::string path = folder.Path("log");
  CHECK(absl::IsNotFound(files->OpenRead(path).status()));
  CHECK(folder.empty());
  REQUIRE(AppendOrDie(files.get(), path)->Append("sound").ok());
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  const auto file = files->OpenRead(path);
  REQUIRE(file.ok());
  CHECK((*file)->size_bytes() == 5);
  CHECK(*(*file)->ReadAt(1, 10) == "ound");
  CHECK(Says(files->OpenRead("/dev/null").status(), "/dev/null is not an ordinary file"));
}

TEST_CASE("a lock whose file was removed by its holder does not let two in") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  const std::string path = folder.Path("lock");
  auto first = files->Lock(path);
  REQUIRE(first.ok());
  REQUIRE(files->Remove(path).ok());
  auto second = files->Lock(path);
  REQUIRE(second.ok());
  first->reset();
  CHECK(absl::IsFailedPrecondition(files->Lock(path).status()));
}

TEST_CASE("folders are made once and removed when empty; what is absent is removed already") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  const std::string inner = folder.Path("job");
  CHECK_FALSE(*files->Exists(inner));
  REQUIRE(files->CreateFolder(inner).ok());
  REQUIRE(files->CreateFolder(inner).ok());
  CHECK(*files->Exists(inner));
  AppendOrDie(files.get(), inner + "/a");
  CHECK_FALSE(files->Remove(inner).ok());
  REQUIRE(files->Rename(inner + "/a", inner + "/b").ok());
  CHECK_FALSE(*files->Exists(inner + "/a"));
  CHECK_FALSE(*files->Exists(inner + "/b/c"));
  REQUIRE(files->Remove(inner + "/a").ok());
  REQUIRE(files->Remove(inner + "/b").ok());
  REQUIRE(files->Remove(inner).ok());
  CHECK(folder.empty());
}

TEST_CASE("what is in the way is refused by name") {
  const ScratchFolder folder;
  const auto files = HostFiles();
  AppendOrDie(files.get(), folder.Path("file"));
  CHECK(Says(files->CreateFolder(folder.Path("file")), folder.Path("file") + " is a file where a folder is needed"));
  CHECK(Says(files->OpenAppend(folder.path()).status(), folder.path() + " is a folder"));
  CHECK(Says(files->OpenAppend("/dev/null").status(), "/dev/null is not an ordinary file"));
  CHECK(Says(files->OpenAppend(folder.Path("none/file")).status(), "cannot open " + folder.Path("none/file")));
  CHECK(Says(files->Rename(folder.Path("none"), folder.Path("to")), folder.Path("none")));
  CHECK(Says(files->SyncFolder(folder.Path("none")), folder.Path("none")));
}

}  // namespace
}  // namespace sluice
