#include "src/model/deepseek2.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <string>

#include "tests/src/model/tiny_model.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

// The keys of a DeepSeek-V3 in the older dialect, to be changed by each test.
struct Keys {
  std::map<std::string, uint32_t> integers = {{"block_count", 61},
                                              {"embedding_length", 7168},
                                              {"context_length", 163840},
                                              {"attention.head_count", 128},
                                              {"attention.q_lora_rank", 1536},
                                              {"attention.kv_lora_rank", 512},
                                              {"attention.key_length", 192},
                                              {"attention.value_length", 128},
                                              {"rope.dimension_count", 64},
                                              {"feed_forward_length", 18432},
                                              {"leading_dense_block_count", 3},
                                              {"expert_count", 256},
                                              {"expert_used_count", 8},
                                              {"expert_shared_count", 1},
                                              {"expert_feed_forward_length", 2048},
                                              {"expert_gating_func", 2}};
  std::map<std::string, float> floats = {
      {"attention.layer_norm_rms_epsilon", 1e-6f}, {"expert_weights_scale", 2.5f}, {"rope.freq_base", 10000.0f}};
  std::map<std::string, std::string> texts;
  uint64_t embedding_rows = 100;
  bool has_split_tensor = false;

  absl::StatusOr<ModelConfig> Read() const {
    GgufBuilder builder;
    builder.Text("general.architecture", "deepseek2").Text("general.name", "Tested");
    for (const auto& [key, value] : integers) builder.U32("deepseek2." + key, value);
    for (const auto& [key, value] : floats) builder.Key("deepseek2." + key, GgufValueType::kF32, Packed(value));
    for (const auto& [key, value] : texts) builder.Text("deepseek2." + key, value);
    builder.Tensor("token_embd.weight", {2, embedding_rows}, 0, 8 * embedding_rows);
    if (has_split_tensor) builder.Tensor("blk.0.attn_k_b.weight", {2}, 0, 8);
    const ScratchFiles folder({1});
    builder.Write(folder.paths()[0]);
    return ReadDeepseek2Config(OpenModel(folder.paths()[0]));
  }

  ModelConfig Sound() const {
    const absl::StatusOr<ModelConfig> config = Read();
    REQUIRE_MESSAGE(config.ok(), config.status().ToString());
    return *config;
  }

  // The message of the error that reading must give.
  std::string Error() const {
    const absl::StatusOr<ModelConfig> config = Read();
    REQUIRE_FALSE(config.ok());
    return std::string(config.status().message());
  }

  void AddYarn() {
    texts["rope.scaling.type"] = "yarn";
    floats["rope.scaling.factor"] = 40.0f;
    integers["rope.scaling.original_context_length"] = 4096;
  }
};

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("the numbers of a DeepSeek-V3 are read") {
  const ModelConfig config = Keys().Sound();
  CHECK(config.name == "Tested");
  CHECK(config.layers == 61);
  CHECK(config.moe_layers() == 58);
  CHECK(config.embedding == 7168);
  CHECK(config.vocab == 100);
  CHECK(config.heads == 128);
  CHECK(config.key_dims == 192);
  CHECK(config.nope_dims() == 128);
  CHECK(config.value_dims == 128);
  CHECK(config.kv_width() == 576);
  CHECK(config.shared_ffn == 2048);
  CHECK(config.routing.experts == 256);
  CHECK(config.routing.top_k == 8);
  CHECK(config.routing.gating == Gating::kSigmoid);
  CHECK(config.routing.scale == 2.5f);
  CHECK_FALSE(config.yarn.enabled);
  CHECK(config.score_scale == doctest::Approx(1.0 / std::sqrt(192.0)));
}

TEST_CASE("in the current dialect head sizes come from the mla keys") {
  Keys keys;
  keys.integers["attention.key_length"] = 576;
  keys.integers["attention.value_length"] = 512;
  keys.integers["attention.key_length_mla"] = 192;
  keys.integers["attention.value_length_mla"] = 96;
  keys.has_split_tensor = true;
  const ModelConfig config = keys.Sound();
  CHECK(config.key_dims == 192);
  CHECK(config.value_dims == 96);
  CHECK(config.split_kv_b);
  CHECK(config.score_scale == doctest::Approx(1.0 / std::sqrt(192.0)));
  CHECK_FALSE(Keys().Sound().split_kv_b);
  keys.integers.erase("attention.value_length_mla");
  CHECK(Contains(keys.Error(), "attention.value_length_mla"));
}

TEST_CASE("a missing gating key means softmax, and no normalisation key means none") {
  Keys keys;
  keys.integers.erase("expert_gating_func");
  keys.floats.erase("expert_weights_scale");
  const RoutingConfig routing = keys.Sound().routing;
  CHECK(routing.gating == Gating::kSoftmax);
  CHECK_FALSE(routing.normalize);
  CHECK(routing.scale == 1.0f);
  CHECK(routing.groups == 1);
  keys.integers["expert_gating_func"] = 3;
  CHECK(Contains(keys.Error(), "expert_gating_func 3"));
}

TEST_CASE("an expert scale of 0 means none") {
  Keys keys;
  keys.floats["expert_weights_scale"] = 0.0f;
  CHECK(keys.Sound().routing.scale == 1.0f);
}

TEST_CASE("a V3 without group keys routes in 8 groups of which 4 are used") {
  Keys keys;
  CHECK(keys.Sound().routing.groups == 8);
  CHECK(keys.Sound().routing.groups_used == 4);
  // Kimi K2 has another number of experts and no groups.
  keys.integers["expert_count"] = 384;
  CHECK(keys.Sound().routing.groups == 1);
  CHECK(keys.Sound().routing.groups_used == 1);
}

TEST_CASE("group keys are obeyed and must fit the experts") {
  Keys keys;
  keys.integers["expert_group_count"] = 1;
  keys.integers["expert_group_used_count"] = 1;
  CHECK(keys.Sound().routing.groups == 1);
  keys.integers["expert_group_count"] = 16;
  keys.integers["expert_group_used_count"] = 2;
  CHECK(keys.Sound().routing.groups == 16);
  CHECK(keys.Sound().routing.groups_used == 2);
  keys.integers["expert_group_count"] = 3;
  CHECK(Contains(keys.Error(), "256 experts in 3 groups"));
  keys.integers["expert_group_count"] = 64;
  keys.integers["expert_group_used_count"] = 1;
  CHECK(Contains(keys.Error(), "cannot give 8 experts"));
  keys.integers["expert_group_used_count"] = 65;
  CHECK(Contains(keys.Error(), "expert_group_used_count"));
  // With groups, how many are used must be told.
  keys.integers["expert_count"] = 128;
  keys.integers["expert_group_count"] = 4;
  keys.integers.erase("expert_group_used_count");
  CHECK(Contains(keys.Error(), "expert_group_used_count"));
}

TEST_CASE("the yarn log multiplier already holds the 0.1") {
  Keys keys;
  keys.AddYarn();
  CHECK(keys.Sound().score_scale == doctest::Approx(1.0 / std::sqrt(192.0)));
  keys.floats["rope.scaling.yarn_log_multiplier"] = 0.1f;
  const double magnitude = 1.0 + 0.1 * std::log(40.0);
  const ModelConfig config = keys.Sound();
  CHECK(config.score_scale == doctest::Approx(magnitude * magnitude / std::sqrt(192.0)).epsilon(1e-6));
  CHECK(config.yarn.enabled);
  CHECK(config.yarn.factor == 40.0);
  CHECK(config.yarn.original_context_length == 4096.0);
  CHECK(config.yarn.beta_fast == 32.0);
  CHECK(config.yarn.beta_slow == 1.0);
}

TEST_CASE("yarn needs its factor and context, and other scalings are refused") {
  Keys keys;
  keys.AddYarn();
  keys.floats.erase("rope.scaling.factor");
  CHECK(Contains(keys.Error(), "rope.scaling.factor"));
  keys.texts["rope.scaling.type"] = "linear";
  CHECK(Contains(keys.Error(), "\"linear\" is not supported"));
  keys.texts["rope.scaling.type"] = "none";
  CHECK_FALSE(keys.Sound().yarn.enabled);
}

TEST_CASE("prediction layers at the end are not run") {
  Keys keys;
  keys.integers["block_count"] = 62;
  keys.integers["nextn_predict_layers"] = 1;
  CHECK(keys.Sound().layers == 61);
  keys.integers["nextn_predict_layers"] = 62;
  CHECK(Contains(keys.Error(), "nextn_predict_layers"));
}

TEST_CASE("a model whose queries have no low rank and one without dense layers are read") {
  Keys keys;
  keys.integers.erase("attention.q_lora_rank");
  keys.integers.erase("leading_dense_block_count");
  keys.integers.erase("feed_forward_length");
  keys.integers.erase("expert_shared_count");
  const ModelConfig config = keys.Sound();
  CHECK(config.query_lora_rank == 0);
  CHECK(config.dense_layers == 0);
  CHECK(config.shared_ffn == 0);
}

TEST_CASE("a model of dense layers alone needs no expert keys") {
  Keys keys;
  keys.integers["leading_dense_block_count"] = 61;
  for (const char* key : {"expert_count", "expert_used_count", "expert_feed_forward_length"}) keys.integers.erase(key);
  CHECK(keys.Sound().moe_layers() == 0);
}

TEST_CASE("each key that is missing is named") {
  for (const char* key :
       {"block_count", "embedding_length", "context_length", "attention.head_count", "attention.kv_lora_rank",
        "attention.key_length", "attention.value_length", "rope.dimension_count", "feed_forward_length", "expert_count",
        "expert_used_count", "expert_feed_forward_length"}) {
    Keys keys;
    REQUIRE(keys.integers.erase(key) == 1);
    CHECK_MESSAGE(Contains(keys.Error(), key), key);
  }
  Keys keys;
  keys.floats.erase("attention.layer_norm_rms_epsilon");
  CHECK(Contains(keys.Error(), "attention.layer_norm_rms_epsilon"));
}

TEST_CASE("numbers out of bounds are refused with their key") {
  const std::map<std::string, std::vector<uint32_t>> bad = {
      {"block_count", {0, 4097, 0xffffffff}},
      {"embedding_length", {0, 1u << 21}},
      {"context_length", {0, 0x80000000}},
      {"attention.head_count", {0, 1u << 20}},
      {"attention.q_lora_rank", {1u << 21}},
      {"attention.kv_lora_rank", {0, 0xffffffff}},
      {"attention.key_length", {0, 1u << 30}},
      {"attention.value_length", {0, 1u << 30}},
      {"rope.dimension_count", {0, 1, 1u << 30}},
      {"leading_dense_block_count", {62}},
      {"expert_count", {0, 1u << 20}},
      {"expert_used_count", {0, 257}},
      {"expert_shared_count", {1025}},
      {"expert_feed_forward_length", {0, 1u << 21}},
  };
  for (const auto& entry : bad) {
    for (uint32_t value : entry.second) {
      Keys keys;
      keys.integers[entry.first] = value;
      CHECK_MESSAGE(Contains(keys.Error(), entry.first), entry.first << " = " << value);
    }
  }
  for (float epsilon : {-1.0f, 2.0f, std::nanf("")}) {
    Keys keys;
    keys.floats["attention.layer_norm_rms_epsilon"] = epsilon;
    CHECK(Contains(keys.Error(), "attention.layer_norm_rms_epsilon"));
  }
}

TEST_CASE("sizes that do not go together are refused") {
  for (const uint32_t rope : {192u, 200u, 63u}) {
    Keys keys;
    keys.integers["rope.dimension_count"] = rope;
    CHECK(Contains(keys.Error(), "rotary dimensions"));
  }
  Keys many;
  many.integers["block_count"] = 4096;
  many.integers["expert_count"] = 65536;
  CHECK(Contains(many.Error(), "65536 experts in each of 4093 layers"));
}

TEST_CASE("golden models read as what they are") {
  SKIP_WITHOUT_SHARED("golden");
  const auto read = [](const std::string& folder) {
    auto config = ReadDeepseek2Config(OpenModel(SharedPath("golden/" + folder + "/model.gguf")));
    REQUIRE_MESSAGE(config.ok(), config.status().ToString());
    return *config;
  };
  CHECK(read("deepseek2-mla").split_kv_b);
  CHECK(read("deepseek2-mla").routing.gating == Gating::kSigmoid);
  CHECK_FALSE(read("deepseek2-legacy").split_kv_b);
  const ModelConfig lite = read("deepseek2-lite");
  CHECK(lite.routing.gating == Gating::kSoftmax);
  CHECK_FALSE(lite.routing.normalize);
  CHECK(lite.query_lora_rank == 0);
  CHECK(lite.layers == 27);
  CHECK(read("deepseek2-grouped").routing.groups > 1);
}

}  // namespace
}  // namespace sluice
