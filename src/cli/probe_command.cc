// sluice probe: what drive, memory and cores can do, and what that buys.
#include <sys/stat.h>

#include <cstring>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/cli/inputs.h"
#include "src/cli/interrupt.h"
#include "src/cli/read_patterns.h"
#include "src/engine/machine_probe.h"
#include "src/engine/opened_model.h"
#include "src/engine/speed_estimate.h"
#include "src/model/model_family.h"
#include "src/synth/random_blocks.h"
#include "storage/drive_probe.h"
#include "storage/file_writer.h"

namespace sluice {
namespace {

constexpr double kGiga = 1e9;
constexpr uint64_t kScratchBytes = uint64_t{1} << 30;
constexpr size_t kScratchPartBytes = size_t{16} << 20;

struct ProbeOptions {
  CommonOptions common;
  std::string path;
  std::string budgets = "4G,8G,16G,32G";
  double seconds = 20;
  int64_t context = 4096;
  bool json = false;
};

// What is read: a model, any file, or a file of our own in a folder.
struct Subject {
  absl::optional<ModelFiles> model;
  std::vector<std::string> paths;
  std::vector<uint64_t> sizes;
  FileWriter scratch;
};

struct Findings {
  std::string io;
  bool direct = false;
  bool uring = false;
  uint32_t alignment_bytes = 0;
  DriveProfile drive;
  std::string kept_in;  // the file that later runs take the choice from; empty: nowhere
  double memory_rate = 0;
  double kernel_rate = 0;
  TensorType kernel_type = TensorType::kQ4K;
  std::vector<SpeedEstimate> estimates;
};

absl::Status WriteScratch(const std::string& folder, Progress* progress, Subject* subject) {
  ASSIGN_OR_RETURN(subject->scratch, FileWriter::Create(absl::StrCat(folder, "/sluice-probe")));
  ASSIGN_OR_RETURN(const uint64_t free_bytes, subject->scratch.FreeBytes());
  if (free_bytes < 2 * kScratchBytes) {
    return absl::ResourceExhaustedError(absl::StrCat(folder, " holds no model, and has no room for a file of ",
                                                     kScratchBytes, " bytes to measure with"));
  }
  RandomBits random(1);
  std::string part(kScratchPartBytes, '\0');
  for (uint64_t done = 0; done < kScratchBytes; done += part.size()) {
    if (InterruptFlag()->load()) return absl::CancelledError("interrupted");
    for (size_t i = 0; i < part.size(); i += 8) {
      const uint64_t bits = random.Next();
      std::memcpy(part.data() + i, &bits, 8);
    }
    RETURN_IF_ERROR(subject->scratch.Append(part));
    progress->Show("writing a file to measure with", done + part.size(), kScratchBytes);
  }
  subject->paths = {subject->scratch.partial_path()};
  subject->sizes = {kScratchBytes};
  return absl::OkStatus();
}

absl::StatusOr<Subject> FindSubject(const std::string& path, Progress* progress) {
  Subject subject;
  absl::StatusOr<ModelFiles> model = ModelFiles::Open(path);
  if (model.ok()) {
    subject.paths = model->paths();
    subject.sizes = model->file_sizes();
    subject.model = *std::move(model);
    return subject;
  }
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return model.status();
  if (S_ISREG(info.st_mode)) {
    subject.paths = {path};
    subject.sizes = {static_cast<uint64_t>(info.st_size)};
    return subject;
  }
  if (!S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is neither a file nor a folder"));
  RETURN_IF_ERROR(WriteScratch(path, progress, &subject));
  return subject;
}

absl::Status MeasureDrive(const ProbeOptions& options, const Subject& subject, Progress* progress, Findings* findings) {
  DriveProbeOptions probe;
  // Memory and cores take their part of the time.
  probe.seconds = std::max(0.5, options.seconds - 2);
  probe.stop = InterruptFlag();
  probe.progress = [progress](int done, int total) {
    progress->Show("reading", static_cast<uint64_t>(done), static_cast<uint64_t>(total));
  };
  const int capacity = *std::max_element(probe.depths.begin(), probe.depths.end());
  findings->uring = OpenBlockReader(IoBackend::kUring, subject.paths, capacity).ok();
  ASSIGN_OR_RETURN(std::unique_ptr<BlockReader> reader,
                   OpenBlockReader(BackendOf(options.common.io), subject.paths, capacity));
  findings->io = std::string(reader->name());
  findings->direct = reader->direct_io();
  findings->alignment_bytes = reader->alignment_bytes();
  ASSIGN_OR_RETURN(findings->drive, ProbeDrive(std::move(reader), subject.sizes, probe));
  // A cache: that it cannot be written is no error.
  const absl::optional<PatternCache> cache = UserPatternCache();
  if (cache.has_value() && findings->drive.pattern().IsSound()) {
    findings->kept_in = cache->Keep(subject.paths[0], findings->io, findings->drive).value_or("");
  }
  return absl::OkStatus();
}

// Of a model that can be run; nothing for other files.
absl::Status EstimateModel(const ProbeOptions& options, const Subject& subject, const std::vector<uint64_t>& budgets,
                           ThreadPool* threads, Findings* findings) {
  if (!subject.model.has_value()) return absl::OkStatus();
  const ModelFiles& files = *subject.model;
  const absl::StatusOr<const ModelFamily*> family = FamilyOf(files);
  if (!family.ok()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const ModelConfig config, (*family)->read_config(files));
  ASSIGN_OR_RETURN(const WeightLayout layout, LayOut(**family, files, config));
  PlanFacts facts;
  facts.files = &files;
  facts.config = &config;
  facts.layout = &layout;
  facts.kernels = &BestKernelSet();
  facts.threads = threads;
  const int64_t context = std::min(config.context_length, options.context);
  facts.cache = {KvType::kF16, config.layers, 1, context, config.kv_width()};
  facts.alignment = findings->alignment_bytes;
  facts.caller = CallerBytesOf(files);
  const MachineRates rates = {findings->drive.chosen.bytes_per_second, findings->kernel_rate};
  for (const uint64_t budget : budgets) findings->estimates.push_back(EstimateSpeed(facts, rates, budget));
  return absl::OkStatus();
}

// The type that most of a token's bytes have.
TensorType ExpertTypeOf(const Subject& subject) {
  if (!subject.model.has_value()) return TensorType::kQ4K;
  for (const GgufTensor& tensor : subject.model->tensors()) {
    if (tensor.n_dims == 3 && InfoOf(tensor.type).is_weight && tensor.name.find("_exps.") != std::string::npos) {
      return tensor.type;
    }
  }
  return TensorType::kQ4K;
}

nlohmann::ordered_json EstimateJson(const SpeedEstimate& e) {
  return {{"ram_bytes", e.ram_bytes},
          {"floor_bytes", e.floor_bytes},
          {"runs", e.runs},
          {"trunk_pinned_bytes", e.pinned_bytes},
          {"pool_slots", e.slots},
          {"hit_share", e.hit_share},
          {"bytes_per_token", e.bytes_per_token},
          {"drive_seconds", e.drive_seconds},
          {"compute_seconds", e.compute_seconds},
          {"tokens_per_minute", e.tokens_per_minute},
          {"limit", std::string(e.limit)}};
}

nlohmann::ordered_json FindingsJson(const ProbeOptions& options, const Subject& subject, int threads,
                                    const Findings& f) {
  nlohmann::ordered_json json = {{"path", options.path},
                                 {"files", subject.paths},
                                 {"io", f.io},
                                 {"direct_io", f.direct},
                                 {"uring", f.uring},
                                 {"alignment_bytes", f.alignment_bytes},
                                 {"best_gbps", f.drive.best.bytes_per_second / kGiga},
                                 {"chunk_bytes", f.drive.chosen.block_bytes},
                                 {"depth", f.drive.chosen.depth},
                                 {"read_gbps", f.drive.chosen.bytes_per_second / kGiga},
                                 {"second_look", f.drive.second_look},
                                 {"kept_in", f.kept_in},
                                 {"threads", threads},
                                 {"memory_gbps", f.memory_rate / kGiga},
                                 {"kernels", std::string(BestKernelSet().name)},
                                 {"kernel_type", std::string(InfoOf(f.kernel_type).name)},
                                 {"kernel_gbps", f.kernel_rate / kGiga}};
  for (const DriveRate& rate : f.drive.grid) {
    json["grid"].push_back({{"block_bytes", rate.block_bytes},
                            {"depth", rate.depth},
                            {"gbps", rate.bytes_per_second / kGiga},
                            {"reads", rate.reads}});
  }
  json["estimates"] = nlohmann::ordered_json::array();
  for (const SpeedEstimate& estimate : f.estimates) json["estimates"].push_back(EstimateJson(estimate));
  return json;
}

void PrintEstimates(const std::vector<SpeedEstimate>& estimates) {
  if (estimates.empty()) return;
  absl::PrintF("\nEstimates for one answer at a time with even routing; real text repeats experts and reads less.\n");
  absl::PrintF("%10s %12s %8s %12s %12s  %s\n", "RAM GiB", "pinned GB", "slots", "GB/token", "tokens/min", "limit");
  for (const SpeedEstimate& e : estimates) {
    const double ram_gib = static_cast<double>(e.ram_bytes) / (1 << 30);
    if (!e.runs) {
      absl::PrintF("%10.1f below the floor of %.1f GiB\n", ram_gib, static_cast<double>(e.floor_bytes) / (1 << 30));
      continue;
    }
    absl::PrintF("%10.1f %12.2f %8d %12.2f %12.1f  %s\n", ram_gib, static_cast<double>(e.pinned_bytes) / kGiga, e.slots,
                 e.bytes_per_token / kGiga, e.tokens_per_minute, e.limit);
  }
}

void PrintText(const Findings& f, int threads) {
  absl::PrintF("reads through %s%s, alignment %d; io_uring %s\n", f.io, f.direct ? ", direct" : ", page cache",
               f.alignment_bytes, f.uring ? "works" : "does not work");
  absl::PrintF("random reads, GB/s\n%12s", "block KiB");
  uint32_t block_bytes = 0;
  for (const DriveRate& rate : f.drive.grid) {
    if (block_bytes != 0 && rate.block_bytes != block_bytes) break;
    block_bytes = rate.block_bytes;
    absl::PrintF("  depth %-2d", rate.depth);
  }
  block_bytes = 0;
  for (const DriveRate& rate : f.drive.grid) {
    if (rate.block_bytes != block_bytes) absl::PrintF("\n%12d", rate.block_bytes >> 10);
    block_bytes = rate.block_bytes;
    absl::PrintF("  %8.2f", rate.bytes_per_second / kGiga);
  }
  absl::PrintF("\nchosen: %d KiB at depth %d, %.2f GB/s (best %.2f)\n", f.drive.chosen.block_bytes >> 10,
               f.drive.chosen.depth, f.drive.chosen.bytes_per_second / kGiga, f.drive.best.bytes_per_second / kGiga);
  if (f.drive.second_look > 0) {
    absl::PrintF("against the usual %d KiB at depth %d by turns, the fastest was %.2f times as fast or better\n",
                 ReadPattern().chunk_bytes >> 10, ReadPattern().depth, f.drive.second_look);
  }
  if (!f.kept_in.empty()) absl::PrintF("later runs read this drive so; kept in %s\n", OneLine(f.kept_in));
  absl::PrintF("memory: %.1f GB/s read by %d threads; products of %s with one row: %.1f GB/s (%s)\n",
               f.memory_rate / kGiga, threads, InfoOf(f.kernel_type).name, f.kernel_rate / kGiga, BestKernelSet().name);
  PrintEstimates(f.estimates);
}

absl::StatusOr<std::vector<uint64_t>> ParseBudgets(const std::string& text) {
  std::vector<uint64_t> budgets;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const absl::StatusOr<uint64_t> bytes = ParseSize(part);
    if (!bytes.ok()) return absl::InvalidArgumentError(absl::StrCat("--ram: ", bytes.status().message()));
    budgets.push_back(*bytes);
  }
  return budgets;
}

absl::Status RunProbe(const ProbeOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> budgets, ParseBudgets(options.budgets));
  WatchInterrupt();
  Progress progress(ProgressOf(options.common));
  ASSIGN_OR_RETURN(const Subject subject, FindSubject(options.path, &progress));
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  ThreadPool threads(options.common.threads > 0 ? options.common.threads : cores);
  Findings findings;
  RETURN_IF_ERROR(MeasureDrive(options, subject, &progress, &findings));
  ASSIGN_OR_RETURN(findings.memory_rate, MeasureMemoryRate(BestKernelSet(), &threads));
  findings.kernel_type = ExpertTypeOf(subject);
  ASSIGN_OR_RETURN(findings.kernel_rate, MeasureKernelRate(BestKernelSet(), findings.kernel_type, &threads));
  RETURN_IF_ERROR(EstimateModel(options, subject, budgets, &threads, &findings));
  progress.Clear();
  if (options.json) {
    const nlohmann::ordered_json json = FindingsJson(options, subject, threads.threads(), findings);
    absl::PrintF("%s\n", JsonLine(json));
  } else {
    PrintText(findings, threads.threads());
  }
  return absl::OkStatus();
}

}  // namespace

Command AddProbeCommand(CLI::App* app) {
  auto options = std::make_shared<ProbeOptions>();
  CLI::App* command = app->add_subcommand("probe", "what the drive under a path, memory and cores can do");
  command
      ->add_option("PATH", options->path, "a model, any large file, or a folder (1 GiB is written there and removed)")
      ->required();
  command->add_option("--seconds", options->seconds, "how long to measure, about")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  command->add_option("--io", options->common.io, "how to read")
      ->check(CLI::IsMember({"auto", "uring", "pread"}))
      ->capture_default_str();
  command->add_option("--threads", options->common.threads, "computing threads (default: one per core)")
      ->check(CLI::Range(1, 1024));
  command->add_option("--ram", options->budgets, "budgets to estimate for, when PATH is a model")
      ->capture_default_str();
  command->add_option("--ctx", options->context, "context of the estimates")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object");
  AddProgressOptions(command, &options->common);
  return {command, [options] { return RunProbe(*options); }};
}

}  // namespace sluice
