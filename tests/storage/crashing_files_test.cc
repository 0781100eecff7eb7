#include "tests/storage/crashing_files.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <utility>

#include "tests/scratch_folder.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

constexpr int kSeeds = 200;

std::unique_ptr<DurableFile> AppendOrDie(DurableFiles* files, const std::string& path) {
  auto file = files->OpenAppend(path);
  REQUIRE_MESSAGE(file.ok(), file.status().ToString());
  return *std::move(file);
}

// A file whose bytes and name are safe.
std::unique_ptr<DurableFile> SafeFile(CrashingFiles* files, const ScratchFolder& folder, const std::string& name,
                                      const std::string& bytes) {
  auto file = AppendOrDie(files, folder.Path(name));
  REQUIRE(file->Append(bytes).ok());
  REQUIRE(file->Sync().ok());
  REQUIRE(files->SyncFolder(folder.path()).ok());
  return file;
}

std::string Shown(const ScratchFolder& folder) {
  std::set<std::string> shown;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    const std::string name = std::filesystem::relative(entry.path(), folder.path()).string();
    shown.insert(entry.is_directory() ? name + "/" : name + "=" + ReadFileToString(entry.path().string()));
  }
  std::string text;
  for (const std::string& one : shown) text += (text.empty() ? "" : " ") + one;
  return text;
}

// What a folder shows after `work` and a crash, for many crashes.
std::set<std::string> Outcomes(const std::function<void(CrashingFiles*, const ScratchFolder&)>& work) {
  std::set<std::string> outcomes;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const ScratchFolder folder(CrashingParent());
    CrashingFiles files;
    work(&files, folder);
    files.Crash(static_cast<uint64_t>(seed));
    outcomes.insert(Shown(folder));
  }
  return outcomes;
}

using Set = std::set<std::string>;

TEST_CASE("what was synced survives every crash, and readers see writes before one") {
  const Set outcomes = Outcomes([](CrashingFiles* files, const ScratchFolder& folder) {
    const auto file = SafeFile(files, folder, "a", "one");
    REQUIRE(file->Append(" two").ok());
    CHECK(ReadFileToString(folder.Path("a")) == "one two");
    REQUIRE(file->Sync().ok());
  });
  CHECK(outcomes == Set{"a=one two"});
}

TEST_CASE("a write that was not synced is kept, lost, or a hole that has its length") {
  const Set outcomes = Outcomes([](CrashingFiles* files, const ScratchFolder& folder) {
    REQUIRE(SafeFile(files, folder, "a", "one")->Append("+").ok());
  });
  CHECK(outcomes == Set{"a=one", "a=one+", std::string("a=one\0", 6)});
}

TEST_CASE("long writes are torn in pieces, and later writes may be there without earlier ones") {
  const std::string a(512, 'a'), b(512, 'b'), c(512, 'c'), old(512, 'o'), hole(512, '\0');
  const Set outcomes = Outcomes([&](CrashingFiles* files, const ScratchFolder& folder) {
    const auto file = SafeFile(files, folder, "f", old);
    REQUIRE(file->Append(a + b).ok());
    REQUIRE(file->Append(c).ok());
  });
  for (const std::string& tail : {std::string(), a, a + b, a + b + c, hole + b, hole + b + c, a + hole + c}) {
    CHECK_MESSAGE(outcomes.count("f=" + old + tail) == 1, tail.size());
  }
  for (const std::string& outcome : outcomes) CHECK(outcome.substr(0, 2 + 512) == "f=" + old);
}

TEST_CASE("overwritten bytes are the old or the new ones in each piece") {
  const std::string old(1024, 'o'), fresh(1024, 'n');
  const Set outcomes = Outcomes([&](CrashingFiles* files, const ScratchFolder& folder) {
    const auto file = SafeFile(files, folder, "f", old);
    REQUIRE(file->WriteAt(0, {reinterpret_cast<const uint8_t*>(fresh.data()), fresh.size()}).ok());
  });
  const std::string o(512, 'o'), n(512, 'n');
  CHECK(outcomes == Set{"f=" + o + o, "f=" + o + n, "f=" + n + o, "f=" + n + n});
}

TEST_CASE("a file cut short may be long again") {
  const Set outcomes = Outcomes([](CrashingFiles* files, const ScratchFolder& folder) {
    REQUIRE(SafeFile(files, folder, "a", "long")->Truncate(2).ok());
  });
  CHECK(outcomes == Set{"a=lo", "a=long"});
}

TEST_CASE("a new file may be gone until its folder is synced") {
  const Set outcomes = Outcomes([](CrashingFiles* files, const ScratchFolder& folder) {
    const auto file = AppendOrDie(files, folder.Path("a"));
    REQUIRE(file->Append("x").ok());
    REQUIRE(file->Sync().ok());
  });
  CHECK(outcomes == Set{"", "a=x"});
}

TEST_CASE("a rename is whole or has not happened, and takes nothing safe away") {
  const auto replace = [](CrashingFiles* files, const ScratchFolder& folder) {
    SafeFile(files, folder, "a", "old");
    SafeFile(files, folder, "a.new", "new");
    REQUIRE(files->Rename(folder.Path("a.new"), folder.Path("a")).ok());
  };
  CHECK(Outcomes(replace) == Set{"a=new", "a.new=new a=old"});
  const auto synced = [&](CrashingFiles* files, const ScratchFolder& folder) {
    replace(files, folder);
    REQUIRE(files->SyncFolder(folder.path()).ok());
  };
  CHECK(Outcomes(synced) == Set{"a=new"});
  const auto again = [&](CrashingFiles* files, const ScratchFolder& folder) {
    replace(files, folder);
    REQUIRE(files->Remove(folder.Path("a")).ok());
  };
  CHECK(Outcomes(again) == Set{"", "a=new", "a.new=new a=old"});
}

TEST_CASE("a rename before the sync of what it names can show a torn file") {
  const Set outcomes = Outcomes([](CrashingFiles* files, const ScratchFolder& folder) {
    SafeFile(files, folder, "a", "old");
    const auto file = AppendOrDie(files, folder.Path("a.new"));
    REQUIRE(file->Append("new").ok());
    REQUIRE(files->Rename(folder.Path("a.new"), folder.Path("a")).ok());
    REQUIRE(files->SyncFolder(folder.path()).ok());
  });
  CHECK(outcomes == Set{"a=", "a=new", std::string("a=\0\0\0", 5)});
}

TEST_CASE("removed files may come back, and a lost folder takes what it holds along") {
  const Set removed = Outcomes([](CrashingFiles* files, const ScratchFolder& folder) {
    SafeFile(files, folder, "a", "x");
    REQUIRE(files->Remove(folder.Path("a")).ok());
    CHECK_FALSE(std::filesystem::exists(folder.Path("a")));
  });
  CHECK(removed == Set{"", "a=x"});
  const Set folders = Outcomes([](CrashingFiles* files, const ScratchFolder& folder) {
    REQUIRE(files->CreateFolder(folder.Path("job")).ok());
    const auto file = AppendOrDie(files, folder.Path("job/a"));
    REQUIRE(files->SyncFolder(folder.Path("job")).ok());
  });
  CHECK(folders == Set{"", "job/ job/a="});
}

TEST_CASE("from the n-th change on everything fails, until the power is back") {
  const ScratchFolder folder(CrashingParent());
  CrashingFiles files;
  const auto file = SafeFile(&files, folder, "a", "one");
  CHECK(files.operations() == 4);
  files.CrashAt(2);
  CHECK(file->Append("2").ok());
  CHECK_FALSE(files.power_is_out());
  CHECK_FALSE(file->Append("3").ok());
  CHECK(files.power_is_out());
  CHECK_FALSE(file->Sync().ok());
  CHECK_FALSE(file->ReadAt(0, 1).ok());
  CHECK_FALSE(files.OpenAppend(folder.Path("b")).ok());
  CHECK_FALSE(files.Exists(folder.Path("a")).ok());
  CHECK_FALSE(std::filesystem::exists(folder.Path("b")));
  files.Crash(1);
  CHECK(files.operations() == 0);
  CHECK_FALSE(file->Append("of a process that is dead").ok());
  CHECK(AppendOrDie(&files, folder.Path("a"))->Append("alive").ok());
}

TEST_CASE("a sync at which the power fails promises nothing") {
  const Set outcomes = Outcomes([](CrashingFiles* files, const ScratchFolder& folder) {
    const auto file = SafeFile(files, folder, "a", "");
    REQUIRE(file->Append("x").ok());
    files->CrashAt(1);
    CHECK_FALSE(file->Sync().ok());
  });
  CHECK(outcomes == Set{"a=", "a=x", std::string("a=\0", 3)});
}

TEST_CASE("the next crash builds on what the last one left, and files of others are safe") {
  const ScratchFolder folder(CrashingParent());
  std::ofstream(folder.Path("a")) << "mine";
  CrashingFiles files;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::string before = ReadFileToString(folder.Path("a"));
    const auto file = AppendOrDie(&files, folder.Path("a"));
    CHECK(file->size_bytes() == before.size());
    REQUIRE(file->Append("+").ok());
    files.Crash(seed);
    CHECK(ReadFileToString(folder.Path("a")).substr(0, before.size()) == before);
  }
  CHECK(ReadFileToString(folder.Path("a")).size() > 4);
}

TEST_CASE("lost bytes that left their length can be stale ones") {
  bool found = false;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const ScratchFolder folder(CrashingParent());
    CrashingFiles files;
    files.ShowStaleBytes();
    const auto file = SafeFile(&files, folder, "a", "");
    REQUIRE(file->Append("xxxxxxxx").ok());
    files.Crash(seed);
    const std::string bytes = ReadFileToString(folder.Path("a"));
    found = found || (bytes.size() == 8 && bytes != "xxxxxxxx" && bytes != std::string(8, '\0'));
  }
  CHECK(found);
}

}  // namespace
}  // namespace sluice
