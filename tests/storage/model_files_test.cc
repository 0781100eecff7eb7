#include "storage/model_files.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/byte_source.h"
#include "storage/split_set.h"
#include "tests/scratch_folder.h"
#include "tests/storage/gguf_builder.h"

namespace sluice {
namespace {

constexpr uint32_t kF32 = static_cast<uint32_t>(TensorType::kF32);

GgufBuilder Single() {
  GgufBuilder file;
  file.Text("general.architecture", "llama").Tensor("a", {4}, kF32, 16);
  return file;
}

// File `number` (from 0) of a set, with one tensor named by its number.
GgufBuilder Shard(uint16_t number, uint16_t count, int32_t total) {
  GgufBuilder file;
  if (number == 0) file.Text("general.architecture", "llama");
  file.Split(number, count, total).Tensor(absl::StrCat("t", number), {4}, kF32, 16);
  return file;
}

void WriteSet(const ScratchFolder& folder) {
  Shard(0, 3, 3).Write(folder.Path("m-00001-of-00003.gguf"));
  Shard(1, 3, 3).Write(folder.Path("m-00002-of-00003.gguf"));
  Shard(2, 3, 3).Write(folder.Path("m-00003-of-00003.gguf"));
}

void CheckRefused(const std::string& path, const std::vector<std::string>& words) {
  const absl::StatusOr<ModelFiles> model = ModelFiles::Open(path);
  REQUIRE_FALSE(model.ok());
  CHECK(model.status().code() != absl::StatusCode::kInvalidArgument);
  const std::string message(model.status().message());
  CHECK_FALSE(absl::StrContains(message, "\n"));
  for (const std::string& word : words) CHECK_MESSAGE(absl::StrContains(message, word), message << " lacks " << word);
}

}  // namespace

TEST_CASE("shard names are taken apart and put together again") {
  const absl::optional<ShardName> name = ParseShardName("/d/a-b-00002-of-00013.gguf");
  REQUIRE(name.has_value());
  CHECK(name->prefix == "/d/a-b");
  CHECK(name->number == 2);
  CHECK(name->count == 13);
  CHECK(name->PathOf(1) == "/d/a-b-00001-of-00013.gguf");
  for (const char* other : {"a.gguf", "a-00004-of-00003.gguf", "a-00000-of-00003.gguf", "a-1-of-3.gguf", "00001.gguf",
                            "a-0001-of-00003.gguf", "a-000x1-of-00003.gguf", "a-00001-of-00003.bin", ".gguf", ""}) {
    CHECK_FALSE(ParseShardName(other).has_value());
  }
}

TEST_CASE("a single file opens by its path and by its folder") {
  const ScratchFolder folder;
  Single().Write(folder.Path("one.gguf"));
  for (const std::string& path : {folder.Path("one.gguf"), folder.path(), folder.path() + "/"}) {
    const absl::StatusOr<ModelFiles> model = ModelFiles::Open(path);
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    CHECK(model->paths().size() == 1);
    CHECK(model->tensors().size() == 1);
    CHECK(model->version() == 3);
    CHECK(model->total_bytes() == std::filesystem::file_size(folder.Path("one.gguf")));
    CHECK(*model->metadata().GetString("general.architecture") == "llama");
    CHECK(model->FindTensor("none") == nullptr);
  }
}

TEST_CASE("a split set opens by its first file and by its folder") {
  const ScratchFolder folder;
  WriteSet(folder);
  Single().Write(folder.Path(".hidden.gguf"));
  std::filesystem::create_directory(folder.Path("sub.gguf"));
  for (const std::string& path : {folder.Path("m-00001-of-00003.gguf"), folder.path()}) {
    const absl::StatusOr<ModelFiles> model = ModelFiles::Open(path);
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    CHECK(model->paths().size() == 3);
    CHECK(model->file_sizes().size() == 3);
    REQUIRE(model->tensors().size() == 3);
    CHECK(model->FindTensor("t2")->file == 2);
    CHECK(model->metadata().Has("general.architecture"));
  }
}

TEST_CASE("a later file of a set is refused with the name of the first") {
  const ScratchFolder folder;
  WriteSet(folder);
  CheckRefused(folder.Path("m-00002-of-00003.gguf"),
               {"split.no is 1", "open the first, " + folder.Path("m-00001-of-00003.gguf")});
}

TEST_CASE("a missing file of a set is named, with the count that asks for it") {
  const ScratchFolder folder;
  WriteSet(folder);
  std::filesystem::remove(folder.Path("m-00002-of-00003.gguf"));
  CheckRefused(
      folder.Path("m-00001-of-00003.gguf"),
      {"split.count is 3", "cannot open " + folder.Path("m-00002-of-00003.gguf"), "No such file or directory"});
  std::filesystem::remove(folder.Path("m-00001-of-00003.gguf"));
  CheckRefused(folder.path(), {"cannot open " + folder.Path("m-00001-of-00003.gguf")});
}

TEST_CASE("split keys must agree with names and with each other") {
  const ScratchFolder folder;
  const std::string first = folder.Path("m-00001-of-00002.gguf");
  const std::string second = folder.Path("m-00002-of-00002.gguf");
  Shard(0, 2, 2).Write(first);
  Shard(2, 2, 2).Write(second);
  CheckRefused(first, {second, "split.no is 2, must be 1"});
  Shard(1, 3, 2).Write(second);
  CheckRefused(first, {second, "split.count is 3, must be 2"});
  Single().Write(second);
  CheckRefused(first, {second, "split.count is missing, must be 2"});
  Shard(0, 2, 2).Write(second);
  CheckRefused(first, {second, "split.no is 0, must be 1"});
  Shard(1, 2, 2).Write(second);
  CHECK(ModelFiles::Open(first).ok());
  Shard(0, 2, 4).Write(first);
  CheckRefused(first, {first, "split.tensors.count is 4, but its 2 files hold 2 tensors"});
  Shard(1, 2, 2).Write(first);
  CheckRefused(first, {first, "split.no is 1, must be 0"});
  GgufBuilder().Key("split.count", GgufValueType::kI8, Packed<int8_t>(-2)).Write(first);
  CheckRefused(first, {first, "'split.count' is -2 (i8)"});
}

TEST_CASE("a tensor in two files is refused with both") {
  const ScratchFolder folder;
  Shard(0, 2, 3).Write(folder.Path("m-00001-of-00002.gguf"));
  Shard(1, 2, 3).Tensor("t0", {1}, kF32, 4).Write(folder.Path("m-00002-of-00002.gguf"));
  CheckRefused(folder.path(), {folder.Path("m-00002-of-00002.gguf"),
                               "tensor 't0' is also in " + folder.Path("m-00001-of-00002.gguf")});
}

TEST_CASE("a split file that was renamed is refused with the pattern of names") {
  const ScratchFolder folder;
  Shard(0, 3, 3).Write(folder.Path("renamed.gguf"));
  CheckRefused(folder.Path("renamed.gguf"), {"split.count is 3", "-00001-of-00003.gguf"});
}

TEST_CASE("a count of 1, a count of 0 and no count mean a single file") {
  const ScratchFolder folder;
  Shard(0, 1, 1).Write(folder.Path("m-00001-of-00001.gguf"));
  CHECK(ModelFiles::Open(folder.Path("m-00001-of-00001.gguf")).ok());
  Shard(0, 1, 1).Write(folder.Path("one.gguf"));
  CHECK(ModelFiles::Open(folder.Path("one.gguf")).ok());
  Shard(0, 0, 99).Write(folder.Path("joined.gguf"));
  CHECK(ModelFiles::Open(folder.Path("joined.gguf")).ok());
  Single().Write(folder.Path("m-00001-of-00007.gguf"));
  CHECK(ModelFiles::Open(folder.Path("m-00001-of-00007.gguf")).ok());
  Shard(0, 0, 1).Write(folder.Path("m-00001-of-00003.gguf"));
  CheckRefused(folder.Path("m-00001-of-00003.gguf"), {"split.count is 0, must be 3"});
}

TEST_CASE("a folder with no model or several is refused with what is there") {
  const ScratchFolder folder;
  CheckRefused(folder.path(), {"no .gguf file in folder " + folder.path()});
  std::ofstream(folder.Path("README.md")) << "x";
  CheckRefused(folder.path(), {"it has README.md"});
  WriteSet(folder);
  Single().Write(folder.Path("other.gguf"));
  CheckRefused(folder.path(), {"holds 2 models", "m-00001-of-00003.gguf, other.gguf"});
  for (int i = 0; i < 20; ++i) Single().Write(folder.Path(absl::StrCat("z", i, ".gguf")));
  CheckRefused(folder.path(), {"holds 22 models", " and 14 more"});
}

TEST_CASE("a path that cannot be opened says why") {
  const ScratchFolder folder;
  const absl::StatusOr<ModelFiles> absent = ModelFiles::Open(folder.Path("absent.gguf"));
  CHECK(absent.status() ==
        absl::NotFoundError("cannot open " + folder.Path("absent.gguf") + ": No such file or directory"));
  CheckRefused(folder.Path(std::string(5000, 'n')), {"cannot open "});
  REQUIRE(mkfifo(folder.Path("pipe.gguf").c_str(), 0600) == 0);
  CheckRefused(folder.Path("pipe.gguf"), {"cannot open", "not a regular file"});
}

TEST_CASE("links to model files are followed, and the set is looked for beside the link") {
  const ScratchFolder blobs;
  const ScratchFolder folder;
  WriteSet(blobs);
  for (const char* name : {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}) {
    std::filesystem::rename(blobs.Path(name), blobs.Path(absl::StrCat("blob", absl::string_view(name).substr(6, 1))));
    std::filesystem::create_symlink(blobs.Path(absl::StrCat("blob", absl::string_view(name).substr(6, 1))),
                                    folder.Path(name));
  }
  const absl::StatusOr<ModelFiles> model = ModelFiles::Open(folder.path());
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  CHECK(model->paths()[2] == folder.Path("m-00003-of-00003.gguf"));
}

TEST_CASE("a file that shrinks while it is read is an error with path and place") {
  const ScratchFolder folder;
  std::ofstream(folder.Path("f")) << std::string(100, 'x');
  const absl::StatusOr<std::unique_ptr<FileByteSource>> source = FileByteSource::Open(folder.Path("f"));
  REQUIRE(source.ok());
  std::filesystem::resize_file(folder.Path("f"), 40);
  char bytes[100];
  const absl::Status status = (*source)->Read(10, 90, bytes);
  CHECK(status ==
        absl::DataLossError("cannot read " + (folder.Path("f")) + " at byte 40: the file shrank while it was read"));
}

}  // namespace sluice
