#include "storage/mirror.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/scratch_folder.h"
#include "tests/storage/scratch_files.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

ModelFiles OpenModelFiles(const std::string& path) {
  absl::StatusOr<ModelFiles> files = ModelFiles::Open(path);
  REQUIRE_MESSAGE(files.ok(), files.status().ToString());
  return *std::move(files);
}

TEST_CASE("a copy is found as a file under any name, or in a folder under its own") {
  SKIP_WITHOUT_SHARED("golden");
  const std::string original = SharedPath("golden/deepseek2-mla-q8_0/model.gguf");
  const ScratchFolder folder;
  fs::copy_file(original, folder.Path("model.gguf"));
  fs::copy_file(original, folder.Path("other.gguf"));
  const ModelFiles files = OpenModelFiles(original);
  CHECK(*FindMirror(files, folder.path()) == std::vector<std::string>{folder.Path("model.gguf")});
  CHECK(*FindMirror(files, folder.Path("other.gguf")) == std::vector<std::string>{folder.Path("other.gguf")});
}

TEST_CASE("every shard of a set needs its copy") {
  SKIP_WITHOUT_SHARED("golden");
  const ScratchFolder folder;
  const ModelFiles files = OpenModelFiles(SharedPath("golden/deepseek2-mla-split"));
  REQUIRE(files.paths().size() > 1);
  for (const std::string& path : files.paths()) fs::copy_file(path, folder.Path(fs::path(path).filename().string()));
  CHECK(FindMirror(files, folder.path())->size() == files.paths().size());
  fs::remove(folder.Path(fs::path(files.paths().back()).filename().string()));
  CHECK(absl::IsNotFound(FindMirror(files, folder.path()).status()));
}

TEST_CASE("a copy with another size or another header is refused") {
  SKIP_WITHOUT_SHARED("golden");
  const std::string original = SharedPath("golden/deepseek2-mla-q8_0/model.gguf");
  const ScratchFolder folder;
  const std::string copy = folder.Path("model.gguf");
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
