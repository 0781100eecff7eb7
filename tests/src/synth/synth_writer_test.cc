#include "src/synth/synth_writer.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "storage/model_files.h"
#include "tests/scratch_folder.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

SynthModel Describe(const char* shape, uint64_t seed, double skew) {
  SynthOptions options;
  options.shape = *FindModelShape(shape);
  options.layers = 3;
  options.unique_layers = 1;
  options.seed = seed;
  options.skew = skew;
  auto model = DescribeSynthModel(options);
  REQUIRE(model.ok());
  return *std::move(model);
}

std::string WriteFile(const ScratchFolder& folder, SynthModel model, int threads) {
  const std::string path = folder.Path("model.gguf");
  auto writer = SynthWriter::Open(std::move(model), path);
  REQUIRE_MESSAGE(writer.ok(), writer.status().ToString());
  ThreadPool pool(threads);
  const absl::Status status = writer->Write(&pool, {});
  REQUIRE_MESSAGE(status.ok(), status.ToString());
  std::string bytes = ReadFileToString(path);
  CHECK(bytes.size() == writer->cost().file_bytes);
  return bytes;
}

TEST_CASE("the bytes depend on the seed and the skew and on nothing else") {
  const ScratchFolder folder;
  const std::string one = WriteFile(folder, Describe("tiny-gpt-oss", 7, 0.5), 1);
  CHECK(one == WriteFile(folder, Describe("tiny-gpt-oss", 7, 0.5), 3));
  CHECK(one != WriteFile(folder, Describe("tiny-gpt-oss", 8, 0.5), 1));
  CHECK(one != WriteFile(folder, Describe("tiny-gpt-oss", 7, 0), 1));
}

TEST_CASE("layers that share their experts hold the same bytes, whether extents are shared or not") {
  const ScratchFolder folder;
  const std::string bytes = WriteFile(folder, Describe("tiny-gpt-oss", 7, 0), 2);
  const auto files = ModelFiles::Open(folder.Path("model.gguf"));
  REQUIRE_MESSAGE(files.ok(), files.status().ToString());
  const auto content = [&](const char* name) {
    const GgufTensor* tensor = files->FindTensor(name);
    REQUIRE(tensor != nullptr);
    return bytes.substr(tensor->offset, tensor->bytes);
  };
  CHECK(content("blk.0.ffn_up_exps.weight") == content("blk.2.ffn_up_exps.weight"));
  CHECK(content("blk.0.ffn_up_exps.weight") != content("blk.0.ffn_gate_exps.weight"));
  CHECK(content("blk.0.attn_q.weight") != content("blk.1.attn_q.weight"));
}

TEST_CASE("an interrupt leaves nothing behind") {
  const ScratchFolder folder;
  {
    auto writer = SynthWriter::Open(Describe("tiny", 7, 0), folder.Path("model.gguf"));
    REQUIRE(writer.ok());
    std::atomic<bool> stop{false};
    SynthWriter::Hooks hooks;
    hooks.stop = &stop;
    hooks.progress = [&](uint64_t done, uint64_t total) {
      CHECK(done <= total);
      if (done > total / 4) stop = true;
    };
    ThreadPool threads(1);
    CHECK(absl::IsCancelled(writer->Write(&threads, hooks)));
  }
  CHECK(folder.empty());
}

TEST_CASE("what the drive has no room for is refused with both figures, and nothing is left behind") {
  const ScratchFolder folder;
  SynthOptions options;
  options.shape = *FindModelShape("kimi-k2");
  options.unique_layers = 0;
  options.expert_type = TensorType::kF32;
  const auto writer = SynthWriter::Open(*DescribeSynthModel(options), folder.Path("model.gguf"));
  const double free_bytes = static_cast<double>(std::filesystem::space(folder.Path("")).available);
  if (free_bytes < 4e12) {
    CHECK(absl::IsResourceExhausted(writer.status()));
    CHECK(writer.status().message().find("GB of disk and ") != std::string::npos);
  }
  CHECK(folder.empty());
}

TEST_CASE("progress ends at the whole cost") {
  const ScratchFolder folder;
  auto writer = SynthWriter::Open(Describe("tiny-gpt-oss", 7, 0), folder.Path("model.gguf"));
  REQUIRE(writer.ok());
  uint64_t last = 0;
  SynthWriter::Hooks hooks;
  hooks.progress = [&](uint64_t done, uint64_t total) {
    CHECK(done >= last);
    CHECK(total == writer->cost().written_bytes);
    last = done;
  };
  ThreadPool threads(2);
  REQUIRE(writer->Write(&threads, hooks).ok());
  CHECK(last <= writer->cost().written_bytes);
  CHECK(last + 2 * SynthModel::kAlignment > writer->cost().written_bytes);
}

}  // namespace
}  // namespace sluice
