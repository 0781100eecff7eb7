#include "storage/mirror.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/storage/scratch_files.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// A folder of its own, gone with the test.
class Folder {
 public:
  explicit Folder(const std::string& name) : path_(fs::temp_directory_path() / name) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string Of(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

ModelFiles OpenModelFiles(const std::string& path) {
  absl::StatusOr<ModelFiles> files = ModelFiles::Open(path);
  REQUIRE_MESSAGE(files.ok(), files.status().ToString());
  return *std::move(files);
}

TEST_CASE("a copy is found as a file under any name, or in a folder under its own") {
  SKIP_WITHOUT_SHARED("golden");
  const std::string original = SharedPath("golden/deepseek2-mla-q8_0/model.gguf");
  const Folder folder("sluice-mirror-1");
  fs::copy_file(original, folder.Of("model.gguf"));
  fs::copy_file(original, folder.Of("other.gguf"));
  const ModelFiles files = OpenModelFiles(original);
  CHECK(*FindMirror(files, folder.path()) == std::vector<std::string>{folder.Of("model.gguf")});
  CHECK(*FindMirror(files, folder.Of("other.gguf")) == std::vector<std::string>{folder.Of("other.gguf")});
}

TEST_CASE("every shard of a set needs its copy") {
  SKIP_WITHOUT_SHARED("golden");
  const Folder folder("sluice-mirror-2");
  const ModelFiles files = OpenModelFiles(SharedPath("golden/deepseek2-mla-split"));
  REQUIRE(files.paths().size() > 1);
  for (const std::string& path : files.paths()) fs::copy_file(path, folder.Of(fs::path(path).filename().string()));
  CHECK(FindMirror(files, folder.path())->size() == files.paths().size());
  fs::remove(folder.Of(fs::path(files.paths().back()).filename().string()));
  CHECK(absl::IsNotFound(FindMirror(files, folder.path()).status()));
}

TEST_CASE("a copy with another size or another header is refused") {
  SKIP_WITHOUT_SHARED("golden");
  const std::string original = SharedPath("golden/deepseek2-mla-q8_0/model.gguf");
  const Folder folder("sluice-mirror-3");
  const std::string copy = folder.Of("model.gguf");
  const ModelFiles files = OpenModelFiles(original);
  fs::copy_file(original, copy);
  fs::permissions(copy, fs::perms::owner_all);
  fs::resize_file(copy, fs::file_size(copy) - 1);
  CHECK(absl::IsInvalidArgument(FindMirror(files, copy).status()));
  fs::resize_file(copy, fs::file_size(original));
  CHECK(FindMirror(files, copy).ok());  // weights are not compared
  {
    std::fstream file(copy, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(40);
    file.put('\x7f');
  }
  CHECK(absl::IsInvalidArgument(FindMirror(files, copy).status()));
}

}  // namespace
}  // namespace sluice
