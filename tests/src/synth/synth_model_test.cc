#include "src/synth/synth_model.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/gguf_writer.h"
#include "storage/model_files.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

SynthModel Describe(const char* shape, int layers = 0) {
  SynthOptions options;
  options.shape = *FindModelShape(shape);
  options.layers = layers;
  auto model = DescribeSynthModel(options);
  REQUIRE_MESSAGE(model.ok(), model.status().ToString());
  return *std::move(model);
}

uint64_t Elements(const GgufTensor& tensor) {
  return tensor.dims[0] * tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
}

struct Facts {
  double weights = 0;
  double routed = 0;  // of one token
};

Facts FactsOf(const SynthModel& model) {
  Facts facts;
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    if (model.fills[i].layer >= model.shape.layers) continue;  // prediction layers
    const double elements = static_cast<double>(Elements(model.tensors[i]));
    facts.weights += elements;
    if (!absl::StrContains(model.tensors[i].name, "_exps.weight")) continue;
    facts.routed += elements * static_cast<double>(model.shape.top_k) / static_cast<double>(model.shape.experts);
  }
  return facts;
}

TEST_CASE("shapes have the size that their publishers name") {
  const std::map<std::string, std::pair<double, double>> expected = {{"deepseek-r1", {671.0e9, 20.4e9}},
                                                                     {"kimi-k2", {1026.4e9, 21.1e9}},
                                                                     {"glm-4.6", {353e9, 16.8e9}},
                                                                     {"qwen3-235b", {235.1e9, 14.2e9}},
                                                                     {"gpt-oss-120b", {116.8e9, 3.6e9}}};
  for (const auto& shape : expected) {
    CAPTURE(shape.first);
    const Facts facts = FactsOf(Describe(shape.first.c_str()));
    CHECK(facts.weights == doctest::Approx(shape.second.first).epsilon(0.01));
    CHECK(facts.routed == doctest::Approx(shape.second.second).epsilon(0.01));
  }
}

// Names of layer `layer`, its number left out.
std::set<std::string> NamesOfLayer(const std::vector<GgufTensor>& tensors, int layer) {
  std::set<std::string> names;
  const std::string prefix = absl::StrCat("blk.", layer, ".");
  for (const GgufTensor& tensor : tensors) {
    if (absl::StartsWith(tensor.name, prefix)) {
      names.insert(absl::StrCat(tensor.name.substr(prefix.size()), " ", tensor.n_dims));
    }
  }
  return names;
}

std::set<std::string> KeysOf(const GgufMetadata& metadata) {
  std::set<std::string> keys;
  for (const auto& [key, value] : metadata.entries()) {
    if (key != "general.alignment") keys.insert(absl::StrCat(key, " ", static_cast<int>(value.type)));
  }
  return keys;
}

TEST_CASE("tensors and keys have the names and types that a converter writes") {
  struct Pair {
    const char* shape;
    const char* golden;
    int dense, moe, last;  // layers to compare, -1: none; the golden file's last one
  };
  const Pair pairs[] = {{"deepseek-r1", "deepseek2-grouped", 0, 1, -1},
                        {"kimi-k2", "deepseek2-mla", 0, 1, -1},
                        {"glm-4.6", "glm4moe", 0, 1, 3},
                        {"qwen3-235b", "qwen3moe", -1, 1, -1},
                        {"gpt-oss-120b", "gpt-oss-mxfp4", -1, 1, -1}};
  for (const Pair& pair : pairs) {
    CAPTURE(pair.shape);
    const std::string path = absl::StrCat("golden/", pair.golden, "/model.gguf");
    SKIP_WITHOUT_SHARED(path);
    const auto golden = ModelFiles::Open(SharedPath(path));
    REQUIRE(golden.ok());
    const SynthModel model = Describe(pair.shape);
    CHECK(KeysOf(model.metadata) == KeysOf(golden->metadata()));
    if (pair.dense >= 0) CHECK(NamesOfLayer(model.tensors, 0) == NamesOfLayer(golden->tensors(), pair.dense));
    const auto names = NamesOfLayer(model.tensors, model.shape.dense_layers);
    CHECK(names == NamesOfLayer(golden->tensors(), pair.moe));
    CHECK(names.size() > 8);
    const int blocks = model.shape.blocks();
    if (pair.last >= 0) CHECK(NamesOfLayer(model.tensors, blocks - 1) == NamesOfLayer(golden->tensors(), pair.last));
    CHECK(NamesOfLayer(model.tensors, blocks).empty());
    CHECK(*model.metadata.GetUint(absl::StrCat(ArchOf(model.shape.family), ".block_count")) ==
          static_cast<uint64_t>(blocks));
    CHECK(model.metadata.GetStrings("tokenizer.ggml.tokens")->size() == static_cast<size_t>(model.shape.vocab));
  }
}

TEST_CASE("so many layers have experts of their own") {
  for (const int unique : {0, 1, 2, 5}) {
    SynthOptions options;
    options.shape = *FindModelShape("tiny");
    options.unique_layers = unique;
    const auto model = DescribeSynthModel(options);
    REQUIRE(model.ok());
    std::set<std::string> streams;
    for (size_t i = 0; i < model->tensors.size(); ++i) {
      if (absl::StrContains(model->tensors[i].name, "ffn_up_exps")) streams.insert(model->fills[i].stream);
    }
    CHECK(streams.size() == static_cast<size_t>(unique == 0 ? 5 : unique));
  }
}

TEST_CASE("fewer layers keep the dense ones first; more than there are is refused") {
  const SynthModel model = Describe("deepseek-r1", 4);
  CHECK(model.shape.layers == 4);
  CHECK(model.shape.dense_layers == 3);
  CHECK(Describe("deepseek-r1", 2).shape.dense_layers == 2);
  CHECK(Describe("glm-4.6", 5).shape.blocks() == 5);
  SynthOptions options;
  options.shape = *FindModelShape("tiny");
  options.layers = 7;
  CHECK(absl::IsInvalidArgument(DescribeSynthModel(options).status()));
}

TEST_CASE("types that do not divide a row are refused for experts and replaced elsewhere, as quantisers do") {
  SynthOptions options;
  options.shape = *FindModelShape("gpt-oss-120b");
  options.expert_type = TensorType::kQ4K;
  const auto refused = DescribeSynthModel(options);
  CHECK(absl::IsInvalidArgument(refused.status()));
  CHECK(absl::StrContains(refused.status().message(), "2880"));
  options.expert_type = TensorType::kQ4_0;
  options.trunk_type = TensorType::kQ4K;
  const auto model = DescribeSynthModel(options);
  REQUIRE(model.ok());
  for (const GgufTensor& tensor : model->tensors) CHECK(tensor.dims[0] % InfoOf(tensor.type).block_elements == 0);
}

TEST_CASE("names of shapes are known, others are not") {
  CHECK(FindModelShape("kimi-k2") != nullptr);
  CHECK(FindModelShape("") == nullptr);
  CHECK(FindModelShape("deepseek") == nullptr);
  CHECK(absl::StrContains(ModelShapeNames(), "glm-4.6"));
}

}  // namespace
}  // namespace sluice
