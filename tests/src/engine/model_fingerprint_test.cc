#include "src/engine/model_fingerprint.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <set>
#include <string>

#include "tests/scratch_folder.h"
#include "tests/storage/gguf_builder.h"

namespace sluice {
namespace {

struct Model {
  std::string name = "storyteller";
  std::string token = "ab";
  uint32_t width = 4;
  double factor = 1.0;
  std::string tensor = "a.weight";
  std::vector<uint64_t> dims = {8, 4};
  size_t extra_bytes = 0;
  char weights = 0;
};

uint64_t FingerprintOf(const ScratchFolder& folder, const Model& model, const std::string& file = "model.gguf") {
  GgufBuilder builder;
  builder.Text("general.name", model.name).U32("width", model.width);
  builder.Key("factor", GgufValueType::kF64, Packed(model.factor));
  builder.Key("tokens", GgufValueType::kArray,
              PackedArray(GgufValueType::kString, 2, PackedString(model.token) + PackedString("c")));
  builder.Info(model.tensor, model.dims, 0, 0);
  std::string bytes = builder.Header();
  bytes.resize((bytes.size() + 31) / 32 * 32 + 128 + model.extra_bytes, model.weights);
  std::ofstream(folder.Path(file), std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  const auto files = ModelFiles::Open(folder.Path(file));
  REQUIRE_MESSAGE(files.ok(), files.status().ToString());
  const auto fingerprint = ModelFingerprint(*files);
  REQUIRE_MESSAGE(fingerprint.ok(), fingerprint.status().ToString());
  return *fingerprint;
}

TEST_CASE("a copy of a model has its fingerprint, wherever it lies") {
  const ScratchFolder folder;
  CHECK(FingerprintOf(folder, {}) == FingerprintOf(folder, {}, "copy.gguf"));
}

TEST_CASE("any change of keys, tokens, tensors, sizes or weights gives another fingerprint") {
  const ScratchFolder folder;
  std::set<uint64_t> seen = {FingerprintOf(folder, {})};
  for (const Model& changed :
       {Model{.name = "other"}, Model{.token = "a"}, Model{.width = 5}, Model{.factor = 1.5},
        Model{.tensor = "b.weight"}, Model{.dims = {4, 8}}, Model{.extra_bytes = 32}, Model{.weights = 1}}) {
    CHECK(seen.insert(FingerprintOf(folder, changed)).second);
  }
}

}  // namespace
}  // namespace sluice
