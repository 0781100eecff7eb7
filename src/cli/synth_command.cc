// sluice synth: a model file of a true shape, filled with random weights.
#include <memory>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/cli/interrupt.h"
#include "src/synth/synth_writer.h"

namespace sluice {
namespace {

struct SynthCommandOptions {
  CommonOptions common;
  std::string shape, output, quant, trunk_quant;
  int layers = 0;
  int unique_layers = 2;
  uint64_t seed = 7;
  double skew = 0;
  bool json = false;
};

// Nothing when `name` is empty.
absl::StatusOr<absl::optional<TensorType>> TypeOf(absl::string_view option, const std::string& name) {
  if (name.empty()) return absl::optional<TensorType>();
  std::string known;
  for (uint32_t number = 0; number < kTensorTypeLimit; ++number) {
    const TensorTypeInfo* info = FindTensorType(number);
    if (info == nullptr || !info->is_weight) continue;
    if (absl::EqualsIgnoreCase(info->name, name)) return absl::optional<TensorType>(info->type);
    absl::StrAppend(&known, " ", info->name);
  }
  return absl::InvalidArgumentError(absl::StrCat(option, ": \"", name, "\" is no type of weights; known:", known));
}

absl::StatusOr<SynthModel> Describe(const SynthCommandOptions& options) {
  const ModelShape* shape = FindModelShape(options.shape);
  if (shape == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape: \"", options.shape, "\" is not known; shapes are ", ModelShapeNames()));
  }
  SynthOptions synth;
  synth.shape = *shape;
  synth.layers = options.layers;
  synth.unique_layers = options.unique_layers;
  synth.seed = options.seed;
  synth.skew = options.skew;
  ASSIGN_OR_RETURN(synth.expert_type, TypeOf("--quant", options.quant));
  ASSIGN_OR_RETURN(synth.trunk_type, TypeOf("--trunk-quant", options.trunk_quant));
  return DescribeSynthModel(synth);
}

std::string CostText(const SynthCommandOptions& options, const SynthWriter::Cost& cost) {
  return absl::StrFormat("%s: %.1f GB to readers, %.1f GB of disk%s\n", options.output,
                         static_cast<double>(cost.file_bytes) / 1e9, static_cast<double>(cost.written_bytes) / 1e9,
                         cost.shares_extents ? ", experts share extents" : ", no reflinks here");
}

void PrintResult(const SynthCommandOptions& options, const SynthWriter& writer, double seconds) {
  const SynthWriter::Cost& cost = writer.cost();
  if (!options.json) {
    absl::PrintF("%s: %d tensors, %.1f GB to readers, %.1f GB written in %.1f s\n", OneLine(options.output),
                 writer.tensors(), static_cast<double>(cost.file_bytes) / 1e9,
                 static_cast<double>(cost.written_bytes) / 1e9, seconds);
    return;
  }
  const nlohmann::ordered_json json = {{"file", options.output},
                                       {"shape", options.shape},
                                       {"tensors", writer.tensors()},
                                       {"file_bytes", cost.file_bytes},
                                       {"written_bytes", cost.written_bytes},
                                       {"reflinks", cost.shares_extents},
                                       {"seed", options.seed},
                                       {"skew", options.skew},
                                       {"seconds", seconds}};
  absl::PrintF("%s\n", JsonLine(json));
}

absl::Status RunSynth(const SynthCommandOptions& options) {
  ASSIGN_OR_RETURN(SynthModel model, Describe(options));
  WatchInterrupt();
  Progress progress(ProgressOf(options.common));
  ASSIGN_OR_RETURN(SynthWriter writer, SynthWriter::Open(std::move(model), options.output));
  progress.Say(CostText(options, writer.cost()));
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  ThreadPool threads(options.common.threads > 0 ? options.common.threads : cores);
  SynthWriter::Hooks hooks;
  hooks.stop = InterruptFlag();
  hooks.progress = [&](uint64_t done, uint64_t total) { progress.Show("writing", done, total); };
  const int64_t begin_ns = NowNs();
  RETURN_IF_ERROR(writer.Write(&threads, hooks));
  progress.Clear();
  PrintResult(options, writer, SecondsOf(NowNs() - begin_ns));
  return absl::OkStatus();
}

}  // namespace

Command AddSynthCommand(CLI::App* app) {
  auto options = std::make_shared<SynthCommandOptions>();
  CLI::App* command = app->add_subcommand("synth", "write a model of a true shape with random weights");
  command->add_option("--shape", options->shape, absl::StrCat("one of ", ModelShapeNames()))->required();
  command->add_option("-o,--output", options->output, "the file to write")->required();
  command->add_option("--layers", options->layers, "only the first so many (default: all)")->check(CLI::Range(1, 4096));
  command
      ->add_option("--unique-layers", options->unique_layers,
                   "so many layers have experts of their own, the others repeat them; 0: all have")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command->add_option("--quant", options->quant, "type of the experts and of the rest (default: q4_K, gpt-oss mxfp4)");
  command->add_option("--trunk-quant", options->trunk_quant, "type of the rest alone");
  command->add_option("--seed", options->seed, "the same seed gives the same bytes")->capture_default_str();
  command
      ->add_option("--skew", options->skew,
                   "how uneven and how persistent routing is: 0 not at all; 0.5 favours some experts and topics mildly")
      ->check(CLI::Range(0.0, 4.0))
      ->capture_default_str();
  command->add_option("--threads", options->common.threads, "threads (default: one per core)")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--json", options->json, "print one JSON object");
  AddProgressOptions(command, &options->common);
  return {command, [options] { return RunSynth(*options); }};
}

}  // namespace sluice
