#include "storage/file_writer.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "tests/storage/scratch_files.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

// A folder of its own.
class Folder {
 public:
  std::string Path(const std::string& name) const {
    return (std::filesystem::path(files_.paths()[0]).parent_path() / name).string();
  }

 private:
  ScratchFiles files_{{1}};
};

FileWriter CreateOrDie(const std::string& path) {
  auto writer = FileWriter::Create(path);
  REQUIRE_MESSAGE(writer.ok(), writer.status().ToString());
  return *std::move(writer);
}

TEST_CASE("a file has its name when it is whole, and not before") {
  const Folder folder;
  const std::string path = folder.Path("new");
  FileWriter writer = CreateOrDie(path);
  REQUIRE(writer.Append("one ").ok());
  REQUIRE(writer.Append("two").ok());
  REQUIRE(writer.Write(0, "ONE").ok());
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(std::filesystem::exists(writer.partial_path()));
  REQUIRE(writer.Commit().ok());
  CHECK(ReadFileToString(path) == "ONE two");
  CHECK_FALSE(std::filesystem::exists(writer.partial_path()));
}

TEST_CASE("a writer that is given up leaves nothing behind, and the old file as it was") {
  const Folder folder;
  const std::string path = folder.Path("old");
  std::ofstream(path) << "old";
  {
    FileWriter writer = CreateOrDie(path);
    REQUIRE(writer.Append("new").ok());
    FileWriter moved = std::move(writer);
    CHECK(std::filesystem::exists(moved.partial_path()));
  }
  CHECK(ReadFileToString(path) == "old");
  CHECK_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST_CASE("committing takes the place of the old file") {
  const Folder folder;
  const std::string path = folder.Path("old");
  std::ofstream(path) << "an old and longer text";
  FileWriter writer = CreateOrDie(path);
  REQUIRE(writer.Append("new").ok());
  REQUIRE(writer.Commit().ok());
  CHECK(ReadFileToString(path) == "new");
}

TEST_CASE("what was never written reads as zeros") {
  const Folder folder;
  FileWriter writer = CreateOrDie(folder.Path("sparse"));
  REQUIRE(writer.Resize(10).ok());
  REQUIRE(writer.Write(4, "xy").ok());
  REQUIRE(writer.Commit().ok());
  CHECK(ReadFileToString(folder.Path("sparse")) == std::string("\0\0\0\0xy\0\0\0\0", 10));
}

TEST_CASE("folders, devices and places that are not there are refused with the path") {
  const Folder folder;
  CHECK(absl::IsInvalidArgument(FileWriter::Create("/dev/null").status()));
  CHECK(std::filesystem::exists("/dev/null"));
  const auto onto_folder = FileWriter::Create(folder.Path("."));
  CHECK(absl::IsInvalidArgument(onto_folder.status()));
  const auto nowhere = FileWriter::Create(folder.Path("none/file"));
  CHECK(nowhere.status().message().find("none/file") != std::string::npos);
}

TEST_CASE("devices can be written in place, where their errors show, and stay what they are") {
  auto null = FileWriter::CreateOrOpen("/dev/null");
  REQUIRE(null.ok());
  CHECK(null->Write(4096, "gone").ok());
  CHECK(null->Commit().ok());
  CHECK(std::filesystem::is_character_file("/dev/null"));
  const Folder folder;
  CHECK_FALSE(FileWriter::CreateOrOpen(folder.Path(".")).ok());
  FileWriter file = *FileWriter::CreateOrOpen(folder.Path("file"));
  CHECK(file.partial_path() == folder.Path("file.partial"));
  if (!std::filesystem::exists("/dev/full")) {
    MESSAGE("SKIP: there is no /dev/full");
    return;
  }
  auto full = FileWriter::CreateOrOpen("/dev/full");
  REQUIRE(full.ok());
  CHECK(full->Write(0, "x").message() ==
        "cannot write /dev/full: No space left on device; free some space there and give the command again");
}

TEST_CASE("writes larger than what is written out at once keep every byte") {
  const Folder folder;
  std::string part(size_t{3} << 20, '\0');
  std::string expected;
  FileWriter writer = CreateOrDie(folder.Path("large"));
  for (int i = 0; i < 5; ++i) {
    for (size_t k = 0; k < part.size(); ++k) part[k] = static_cast<char>(ScratchByte(i, k));
    expected += part;
    REQUIRE(writer.Append(part).ok());
  }
  REQUIRE(writer.Commit().ok());
  CHECK(ReadFileToString(folder.Path("large")) == expected);
}

TEST_CASE("asking whether ranges can share extents leaves the file empty") {
  const Folder folder;
  FileWriter writer = CreateOrDie(folder.Path("clone"));
  const auto can = writer.CanClone();
  REQUIRE(can.ok());
  CHECK(std::filesystem::file_size(writer.partial_path()) == 0);
  CHECK(*writer.FreeBytes() > 0);
  constexpr uint64_t kBlock = FileWriter::kCloneAlignment;
  REQUIRE(writer.Append(std::string(kBlock, 'a')).ok());
  REQUIRE(writer.Resize(2 * kBlock).ok());
  CHECK(writer.Clone(0, kBlock, kBlock).ok() == *can);
  if (!*can) MESSAGE("SKIP: this file system has no reflinks");
  REQUIRE(writer.Commit().ok());
  if (*can) CHECK(ReadFileToString(folder.Path("clone")) == std::string(2 * kBlock, 'a'));
}

}  // namespace
}  // namespace sluice
