// sluice run: one prompt in, text out as it is generated.
#include <cstdio>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/engine/generate.h"
#include "src/engine/prompt_scheduler.h"
#include "src/text/chat_template.h"
#include "src/text/utf8_stream.h"

namespace sluice {
namespace {

struct RunOptions {
  CommonOptions common;
  std::string prompt, file, tokens, system;
  int64_t max_tokens = 256;
  int64_t context = kContextAsNeeded;
  double temperature = 0.6;
  SamplerOptions sampler;
  absl::optional<uint64_t> seed;
  bool raw = false;
  bool ignore_eos = false;
  bool no_prefetch = false;
  bool print_ids = false;
};

absl::StatusOr<std::vector<int32_t>> EncodeText(const RunOptions& options, const std::string& text,
                                                const GgufMetadata& metadata, const Tokenizer& tokenizer) {
  absl::optional<ChatTemplate> chat_template;
  if (!options.raw) {
    ASSIGN_OR_RETURN(chat_template, ChatTemplate::FromMetadata(metadata, tokenizer));
  }
  if (chat_template.has_value()) {
    std::vector<ChatMessage> messages;
    if (!options.system.empty()) messages.push_back({"system", options.system, {}});
    messages.push_back({"user", text, {}});
    ASSIGN_OR_RETURN(const std::string rendered, chat_template->Render(messages, /*add_generation_prompt=*/true));
    return tokenizer.Encode(rendered, ParseSpecial::kAll);
  }
  if (!options.system.empty()) {
    return absl::InvalidArgumentError("--system needs a chat template; this prompt is raw");
  }
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text, ParseSpecial::kAll));
  if (tokenizer.add_bos()) ids.insert(ids.begin(), *tokenizer.bos_id());
  return ids;
}

absl::StatusOr<std::vector<int32_t>> PromptTokens(const RunOptions& options, const GgufMetadata& metadata,
                                                  const Tokenizer& tokenizer) {
  const int given = !options.prompt.empty() + !options.file.empty() + !options.tokens.empty();
  if (given != 1) return absl::InvalidArgumentError("give one prompt: -p TEXT, -f FILE or --tokens 1,2,3");
  if (!options.tokens.empty()) return ParseTokenList(options.tokens);
  std::string text = options.prompt;
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(text, ReadTextFile(options.file));
  }
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeText(options, text, metadata, tokenizer));
  if (ids.empty()) return absl::InvalidArgumentError("the prompt is empty");
  return ids;
}

// The KV is planned for the prompt and the answer, or for --ctx.
absl::StatusOr<int64_t> ContextFor(const RunOptions& options, int64_t prompt_tokens, const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::string arch, metadata.GetString("general.architecture"));
  ASSIGN_OR_RETURN(const uint64_t limit, metadata.GetUint(absl::StrCat(arch, ".context_length")));
  int64_t context = options.context;
  if (context == kContextAsNeeded) context = std::min<int64_t>(prompt_tokens + options.max_tokens, limit);
  if (prompt_tokens > context || (prompt_tokens == context && options.max_tokens > 0)) {
    return absl::InvalidArgumentError(absl::StrCat("the prompt of ", prompt_tokens,
                                                   " tokens does not leave room in the context of ", context,
                                                   " tokens; shorten it or give a larger --ctx"));
  }
  return context;
}

// Prints tokens as they come, whole characters only.
class Printer {
 public:
  Printer(const RunOptions& options, const Tokenizer& tokenizer, Progress* progress)
      : options_(options), tokenizer_(tokenizer), progress_(progress) {}

  bool OnToken(int32_t token) {
    progress_->Clear();
    ids_.push_back(token);
    if (!options_.ignore_eos && tokenizer_.IsEndOfGeneration(token)) return false;
    if (!options_.print_ids) Write(stream_.Append(tokenizer_.TokenBytes(token)));
    return true;
  }

  void Finish() {
    if (options_.print_ids) {
      absl::PrintF("%s\n", nlohmann::json({{"ids", ids_}}).dump());
    } else {
      Write(stream_.Flush());
      Write("\n");
    }
  }

 private:
  static void Write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

  const RunOptions& options_;
  const Tokenizer& tokenizer_;
  Progress* progress_;
  Utf8Stream stream_;
  std::vector<int32_t> ids_;
};

absl::StatusOr<Sampler> MakeSampler(const RunOptions& options) {
  SamplerOptions sampler = options.sampler;
  sampler.temperature = options.temperature;
  sampler.seed = options.seed.has_value() ? *options.seed : std::random_device{}();
  return Sampler::Create(sampler);
}

absl::Status Run(const RunOptions& options) {
  ASSIGN_OR_RETURN(Sampler sampler, MakeSampler(options));
  ASSIGN_OR_RETURN(EngineOptions engine_options, MakeEngineOptions(options.common));
  ASSIGN_OR_RETURN(ModelFiles files, ModelFiles::Open(options.common.model));
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Create(files.metadata()));
  GenerateRequest request;
  ASSIGN_OR_RETURN(request.prompt, PromptTokens(options, files.metadata(), tokenizer));
  const int64_t prompt_tokens = static_cast<int64_t>(request.prompt.size());
  ASSIGN_OR_RETURN(engine_options.context, ContextFor(options, prompt_tokens, files.metadata()));
  engine_options.sweep_rows =
      options.common.chunk_rows > 0 ? std::min(options.common.chunk_rows, prompt_tokens) : prompt_tokens;
  Progress progress(options.common);
  engine_options.load_progress = [&](uint64_t done, uint64_t total) { progress.Show("loading", done, total); };
  InstallInterruptHandler();
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(files), engine_options));
  RETURN_IF_ERROR(CheckTokens(request.prompt, engine->config().vocab));
  progress.Clear();

  Printer printer(options, tokenizer, &progress);
  request.max_tokens = options.max_tokens;
  request.chunk_rows = options.common.chunk_rows;
  request.on_token = [&](int32_t token) { return printer.OnToken(token); };
  request.on_prompt = [&](int64_t done, int64_t total) { progress.Show("prompt", done, total); };
  RunTimeline timeline;
  const absl::Status status = Generate(engine.get(), request, &sampler, &timeline);
  progress.Clear();
  printer.Finish();
  PrintStats(options.common, *engine, timeline);
  return status;
}

void AddSamplingOptions(CLI::App* app, RunOptions* options) {
  app->add_option("--temp", options->temperature, "temperature; 0 is greedy")->capture_default_str();
  app->add_option("--top-p", options->sampler.top_p, "keep the likeliest tokens that hold this much probability");
  app->add_option("--top-k", options->sampler.top_k, "keep this many of the likeliest tokens; 0 keeps all");
  app->add_option("--min-p", options->sampler.min_p, "drop tokens below this share of the likeliest one's probability");
  app->add_option("--seed", options->seed, "seed of the random numbers (default: a fresh one)");
}

}  // namespace

Command AddRunCommand(CLI::App* app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app->add_subcommand("run", "generate from one prompt");
  AddModelOption(command, &options->common);
  AddEngineOptions(command, &options->common);
  AddStatsOption(command, &options->common);
  AddSamplingOptions(command, options.get());
  command->add_option("-p,--prompt", options->prompt, "the prompt");
  command->add_option("-f,--file", options->file, "file with the prompt; - reads standard input");
  command->add_option("--tokens", options->tokens, "the prompt as token ids: 1,2,3");
  command->add_option("-n", options->max_tokens, "tokens to generate at most")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--ctx", options->context, "context to plan for (default: prompt and answer)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command->add_option("--kv", options->common.kv, "type of the KV cache")
      ->check(CLI::IsMember({"f16", "q8_0"}))
      ->capture_default_str();
  command->add_option("--system", options->system, "system message for the chat template");
  command->add_flag("--raw", options->raw, "no chat template");
  command->add_flag("--ignore-eos", options->ignore_eos, "go on after an end-of-text token");
  command->add_flag("--no-prefetch", options->no_prefetch, "read no expert before routing has asked for it");
  command->add_flag("--print-ids", options->print_ids, "print the generated token ids as JSON instead of text");
  return {command, [options] { return Run(*options); }};
}

}  // namespace sluice
