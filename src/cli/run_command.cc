// sluice run: one prompt in, text out as it is generated.
#include <cstdio>
#include <memory>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "src/cli/common.h"
#include "src/cli/inputs.h"
#include "src/cli/interrupt.h"
#include "src/engine/generate.h"
#include "src/engine/opened_model.h"
#include "src/engine/prompt_scheduler.h"
#include "src/engine/session.h"
#include "src/engine/trace_observer.h"
#include "src/text/chat_template.h"
#include "src/text/utf8_stream.h"

namespace sluice {
namespace {

struct RunOptions {
  CommonOptions common;
  absl::optional<std::string> prompt;
  std::string file, tokens, system, trace, session;
  int64_t max_tokens = 256;
  int64_t context = kContextAsNeeded;
  SamplerOptions sampler = {.temperature = 0.6};
  std::string seed;
  bool raw = false;
  bool ignore_eos = false;
  bool no_prefetch = false;
  bool print_ids = false;
};

absl::Status CheckOptions(const RunOptions& options) {
  const int given = options.prompt.has_value() + !options.file.empty() + !options.tokens.empty();
  if (given != 1) return absl::InvalidArgumentError("give one prompt: -p TEXT, -f FILE or --tokens 1,2,3");
  if (!options.system.empty() && (options.raw || !options.tokens.empty())) {
    return absl::InvalidArgumentError("--system needs a chat template; leave out --raw and --tokens");
  }
  return absl::OkStatus();
}

// With ids in, ids out and no end to look for, any vocabulary will do.
bool NeedsTokenizer(const RunOptions& options) {
  return options.tokens.empty() || !options.print_ids || !options.ignore_eos;
}

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
    return absl::InvalidArgumentError("--system needs a chat template, and this model has none");
  }
  return EncodeRawPrompt(tokenizer, text);
}

absl::StatusOr<std::vector<int32_t>> PromptTokens(const RunOptions& options, OpenedModel* model) {
  if (!options.tokens.empty()) return ParseTokenList(options.tokens);
  std::string text = options.prompt.value_or("");
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(text, ReadTextFile(options.file));
  }
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeText(options, text, model->files.metadata(), *model->tokenizer));
  model->CountText(text.size(), ids.size());
  if (ids.empty()) return absl::InvalidArgumentError("the prompt is empty; give at least one character");
  return ids;
}

// The KV is planned for the prompt and the answer, or for --ctx.
absl::StatusOr<int64_t> ContextFor(const RunOptions& options, int64_t prompt_tokens, const ModelConfig& config) {
  const int64_t limit = config.context_length;
  int64_t context = options.context;
  if (context == kContextAsNeeded) context = std::min(prompt_tokens + options.max_tokens, limit);
  if (context <= limit && prompt_tokens + (options.max_tokens > 0) > context) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt of ", prompt_tokens, " tokens does not fit the context of ", context, " tokens with room to answer",
        context == limit ? ", the most this model has; shorten it" : "; shorten it or give a larger --ctx"));
  }
  return context;
}

// Prints tokens as they come, whole characters only.
class Printer {
 public:
  Printer(const RunOptions& options, const absl::optional<Tokenizer>& tokenizer, Progress* progress)
      : options_(options), tokenizer_(tokenizer), progress_(progress) {}

  bool OnToken(int32_t token) {
    progress_->Clear();
    ids_.push_back(token);
    if (!options_.ignore_eos && tokenizer_->IsEndOfGeneration(token)) return false;
    if (options_.print_ids) return true;
    // A model may have more rows than its vocabulary has tokens.
    const bool known = token < tokenizer_->vocab_size();
    return Write(stream_.Append(known ? tokenizer_->TokenBytes(token) : ""));
  }

  void Finish() {
    if (options_.print_ids) {
      Write(nlohmann::json({{"ids", ids_}}).dump() + "\n");
    } else {
      Write(stream_.Flush() + "\n");
    }
  }

  const std::vector<int32_t>& ids() const { return ids_; }

 private:
  // False when nobody reads any more: there is no point in going on.
  static bool Write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  }

  const RunOptions& options_;
  const absl::optional<Tokenizer>& tokenizer_;
  Progress* progress_;
  Utf8Stream stream_;
  std::vector<int32_t> ids_;
};

absl::StatusOr<Sampler> MakeSampler(const RunOptions& options) {
  SamplerOptions sampler = options.sampler;
  sampler.seed = std::random_device{}();
  if (!options.seed.empty() && !absl::SimpleAtoi(options.seed, &sampler.seed)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--seed: \"", options.seed, "\" is not a whole number from 0 to ", UINT64_MAX));
  }
  return Sampler::Create(sampler);
}

// What sequence 0 holds after a run: the last token that was chosen is never computed.
std::vector<Session::Token> HeldTokens(const GenerateRequest& request, const std::vector<int32_t>& generated,
                                       const RunTimeline& timeline) {
  std::vector<Session::Token> held;
  for (uint64_t i = 0; i < timeline.prompt_tokens; ++i) held.push_back({request.prompt[i], /*generated=*/false});
  for (size_t i = 0; i + 1 < generated.size(); ++i) held.push_back({generated[i], /*generated=*/true});
  return held;
}

// Generates and prints; what was generated before an interrupt counts too.
absl::Status GenerateAndPrint(const RunOptions& options, const OpenedModel& model, GenerateRequest request,
                              const Session* session, Engine* engine, Sampler* sampler, Progress* progress) {
  Printer printer(options, model.tokenizer, progress);
  request.max_tokens = options.max_tokens;
  request.chunk_rows = options.common.chunk_rows;
  request.on_token = [&](int32_t token) { return printer.OnToken(token); };
  request.on_prompt = [&](int64_t done, int64_t total) { progress->Show("prompt", done, total); };
  RunTimeline timeline;
  timeline.load_bytes = engine->counters().io.bytes_read;
  const absl::Status status = Generate(engine, request, sampler, &timeline);
  progress->Clear();
  printer.Finish();
  if (!status.ok() && !absl::IsCancelled(status)) return status;
  PrintStats(options.common, *engine, timeline);
  if (session != nullptr) {
    RETURN_IF_ERROR(session->Save(HeldTokens(request, printer.ids(), timeline), engine->kv_cache()));
  }
  return status;
}

// Finds out early whether a trace can be written, and plans for its memory.
absl::Status PrepareTrace(const std::string& path, int64_t sweep_rows, OpenedModel* model) {
  const ModelConfig& config = model->config;
  if (config.moe_layers() == 0) {
    return absl::InvalidArgumentError("--trace: this model has no experts, so there is no routing to record");
  }
  model->caller.held += RoutingRecorder::MemoryBytes(sweep_rows, config.moe_layers(), config.routing.top_k);
  return RoutingRecorder::Create(path).status();
}

// Finds out early whether a session can be gone on with, and plans for its memory.
absl::StatusOr<Session> OpenSession(const std::string& path, const EngineOptions& options, OpenedModel* model) {
  ASSIGN_OR_RETURN(const SessionIdentity identity, IdentityOf(model->fingerprint, options, model->config));
  ASSIGN_OR_RETURN(Session session, Session::Open(path, identity));
  model->caller.held += session.memory_bytes() + static_cast<uint64_t>(options.context) * sizeof(Session::Token) * 2;
  return session;
}

absl::Status Run(const RunOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(Sampler sampler, MakeSampler(options));
  Progress progress(ProgressOf(options.common));
  ASSIGN_OR_RETURN(EngineOptions engine_options, MakeEngineOptions(options.common, &progress));
  ASSIGN_OR_RETURN(OpenedModel model, OpenModel(options.common.model, NeedsTokenizer(options)));
  GenerateRequest request;
  ASSIGN_OR_RETURN(request.prompt, PromptTokens(options, &model));
  RETURN_IF_ERROR(CheckTokens(request.prompt, model.config.vocab));
  const int64_t prompt_tokens = static_cast<int64_t>(request.prompt.size());
  ASSIGN_OR_RETURN(engine_options.context, ContextFor(options, prompt_tokens, model.config));
  engine_options.sweep_rows =
      options.common.chunk_rows > 0 ? std::min(options.common.chunk_rows, prompt_tokens) : prompt_tokens;
  engine_options.prefetch = !options.no_prefetch;
  const bool tracing = !options.trace.empty();
  TraceObserver trace;
  if (tracing) {
    RETURN_IF_ERROR(PrepareTrace(options.trace, engine_options.sweep_rows, &model));
    engine_options.observer = &trace;
  }
  absl::optional<Session> session;
  if (!options.session.empty()) {
    ASSIGN_OR_RETURN(session, OpenSession(options.session, engine_options, &model));
  }
  engine_options.caller = model.caller;
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(std::move(model.files), engine_options));
  progress.Clear();
  WatchInterrupt();
  if (tracing) RETURN_IF_ERROR(trace.Start(options.trace, *engine));
  if (session.has_value()) {
    request.computed = session->CommonPrefix(request.prompt);
    RETURN_IF_ERROR(session->Restore(request.computed, engine->kv_cache()));
  }
  const absl::Status status = GenerateAndPrint(options, model, std::move(request), session ? &*session : nullptr,
                                               engine.get(), &sampler, &progress);
  if (tracing && (status.ok() || absl::IsCancelled(status))) RETURN_IF_ERROR(trace.Finish());
  if (absl::IsCancelled(status)) LeaveSoon();
  return status;
}

void AddSamplingOptions(CLI::App* app, RunOptions* options) {
  app->add_option("--temp", options->sampler.temperature, "temperature; 0 is greedy")->capture_default_str();
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
  command->add_option("--system", options->system, "system message for the chat template");
  command->add_flag("--raw", options->raw, "no chat template");
  command->add_flag("--ignore-eos", options->ignore_eos, "go on after an end-of-text token");
  command->add_flag("--no-prefetch", options->no_prefetch, "read no expert before routing has asked for it");
  command->add_option("--session", options->session,
                      "go on from what this file holds, and keep the end of the run there");
  command->add_option("--trace", options->trace, "record which experts every token chose, for sluice replay");
  command->add_flag("--print-ids", options->print_ids, "print the generated token ids as JSON instead of text");
  return {command, [options] { return Run(*options); }};
}

}  // namespace sluice
