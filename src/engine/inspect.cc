#include "src/engine/inspect.h"

#include <algorithm>
#include <map>
#include <string>
#include <thread>

#include "base/status.h"
#include "src/engine/opened_model.h"
#include "src/engine/planning.h"
#include "src/model/model_family.h"

namespace sluice {
namespace {

// The floor is given for a chat of this length.
constexpr int64_t kFloorContext = 4096;

nlohmann::ordered_json QuantMix(const ModelFiles& files) {
  std::map<std::string, std::pair<uint64_t, uint64_t>> mix;  // tensors, bytes
  for (const GgufTensor& tensor : files.tensors()) {
    auto& [tensors, bytes] = mix[std::string(InfoOf(tensor.type).name)];
    ++tensors;
    bytes += tensor.bytes;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [type, counts] : mix) json[type] = {{"tensors", counts.first}, {"bytes", counts.second}};
  return json;
}

// Bytes of routed weights that one token reads: top_k experts of each layer.
uint64_t RoutedBytesPerToken(const ModelConfig& config, const WeightLayout& layout) {
  if (config.moe_layers() == 0) return 0;
  return layout.expert_bytes() / config.routing.experts * config.routing.top_k;
}

absl::Status AddModel(const ModelFiles& files, nlohmann::ordered_json* json) {
  ASSIGN_OR_RETURN(const ModelFamily* family, FamilyOf(files));
  ASSIGN_OR_RETURN(const ModelConfig config, family->read_config(files));
  ASSIGN_OR_RETURN(const WeightLayout layout, LayOut(*family, files, config));
  ThreadPool threads(std::max(1u, std::thread::hardware_concurrency()));
  PlanFacts facts;
  facts.files = &files;
  facts.config = &config;
  facts.layout = &layout;
  facts.kernels = &BestKernelSet();
  facts.threads = &threads;
  const int64_t context = std::min(config.context_length, kFloorContext);
  facts.cache = {KvType::kF16, config.layers, 1, context, config.kv_width()};
  facts.caller = CallerBytesOf(files);
  const SweepWish wish{context, 1};
  (*json)["layers"] = config.layers;
  (*json)["dense_layers"] = config.dense_layers;
  (*json)["embedding_length"] = config.embedding;
  (*json)["vocab"] = config.vocab;
  (*json)["context_length"] = config.context_length;
  (*json)["experts"] = config.routing.experts;
  (*json)["experts_used"] = config.routing.top_k;
  (*json)["trunk_bytes"] = layout.trunk_bytes();
  (*json)["expert_bytes"] = layout.expert_bytes();
  (*json)["embedding_bytes"] = layout.embedding->bytes;
  (*json)["routed_bytes_per_token"] = RoutedBytesPerToken(config, layout);
  (*json)["kv_bytes_per_token"] = KvCache::RowBytes(KvType::kF16, config.kv_width()) * config.layers;
  (*json)["floor_context"] = context;
  (*json)["floor_bytes"] = FloorBytes(MakeRequest(facts, SmallestLimits(facts, wish)));
  return absl::OkStatus();
}

}  // namespace

nlohmann::ordered_json Inspect(const ModelFiles& files) {
  nlohmann::ordered_json json;
  const GgufMetadata& metadata = files.metadata();
  json["arch"] = metadata.GetStringOr("general.architecture", "").value_or("");
  json["name"] = metadata.GetStringOr("general.name", "").value_or("");
  json["gguf_version"] = files.version();
  json["alignment"] = files.alignment();
  json["files"] = files.paths().size();
  json["total_bytes"] = files.total_bytes();
  json["keys"] = metadata.entries().size();
  json["tensors"] = files.tensors().size();
  uint64_t weights = 0;
  for (const GgufTensor& tensor : files.tensors()) {
    weights += tensor.dims[0] * tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
  }
  json["weights"] = weights;
  json["quantisation"] = QuantMix(files);
  nlohmann::ordered_json model;
  const absl::Status status = AddModel(files, &model);
  json["supported"] = status.ok();
  if (status.ok()) {
    json.update(model);
  } else {
    json["reason"] = std::string(status.message());
  }
  return json;
}

nlohmann::ordered_json InspectTensors(const ModelFiles& files) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const GgufTensor& tensor : files.tensors()) {
    nlohmann::ordered_json dims = nlohmann::ordered_json::array();
    for (int i = 0; i < tensor.n_dims; ++i) dims.push_back(tensor.dims[i]);
    list.push_back({{"name", tensor.name},
                    {"type", std::string(InfoOf(tensor.type).name)},
                    {"dims", dims},
                    {"file", tensor.file},
                    {"offset", tensor.offset},
                    {"bytes", tensor.bytes}});
  }
  return list;
}

}  // namespace sluice
