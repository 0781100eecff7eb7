// sluice inspect: what a file holds, from its header.
#include <memory>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/engine/inspect.h"
#include "storage/model_files.h"

namespace sluice {
namespace {

struct InspectOptions {
  std::string model;
  bool json = false;
  bool tensors = false;
};

constexpr auto kReplace = nlohmann::json::error_handler_t::replace;

std::string ValueText(const nlohmann::ordered_json& value) {
  return OneLine(value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, kReplace));
}

void PrintText(const nlohmann::ordered_json& json) {
  for (const auto& [key, value] : json.items()) {
    if (key == "quantisation" || key == "tensor_list") continue;
    absl::PrintF("%-24s %s\n", key, ValueText(value));
  }
  for (const auto& [type, counts] : json["quantisation"].items()) {
    absl::PrintF("  %-10s %6d tensors %16d bytes\n", type, counts["tensors"].get<uint64_t>(),
                 counts["bytes"].get<uint64_t>());
  }
  if (!json.contains("tensor_list")) return;
  for (const nlohmann::ordered_json& tensor : json["tensor_list"]) {
    absl::PrintF("  %-40s %-8s %-24s file %s offset %s bytes %s\n", ValueText(tensor["name"]),
                 ValueText(tensor["type"]), ValueText(tensor["dims"]), ValueText(tensor["file"]),
                 ValueText(tensor["offset"]), ValueText(tensor["bytes"]));
  }
}

absl::Status RunInspect(const InspectOptions& options) {
  ASSIGN_OR_RETURN(const ModelFiles files, ModelFiles::Open(options.model));
  nlohmann::ordered_json json = Inspect(files);
  if (options.tensors) json["tensor_list"] = InspectTensors(files);
  if (options.json) {
    absl::PrintF("%s\n", json.dump(-1, ' ', false, kReplace));
  } else {
    PrintText(json);
  }
  return absl::OkStatus();
}

}  // namespace

Command AddInspectCommand(CLI::App* app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app->add_subcommand("inspect", "what a model file holds and what it would cost to run");
  command->add_option("MODEL,-m,--model", options->model, "GGUF file, first shard of a split set, or folder")
      ->required();
  command->add_flag("--json", options->json, "print one JSON object");
  command->add_flag("--tensors", options->tensors, "list the tensors too");
  return {command, [options] { return RunInspect(*options); }};
}

}  // namespace sluice
