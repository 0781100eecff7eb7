// sluice tokenize and detokenize: text to ids and back.
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "nlohmann/json.hpp"
#include "src/cli/common.h"
#include "src/cli/inputs.h"
#include "src/text/tokenizer.h"
#include "storage/model_files.h"

namespace sluice {
namespace {

struct TokenizeOptions {
  CommonOptions common;
  absl::optional<std::string> text;
  std::string file, jsonl, tokens;
  std::string parse_special = "all";
  bool bos = false;
};

ParseSpecial ModeOf(const std::string& name) {
  if (name == "user") return ParseSpecial::kUser;
  return name == "none" ? ParseSpecial::kNone : ParseSpecial::kAll;
}

absl::StatusOr<Tokenizer> OpenTokenizer(const CommonOptions& options) {
  ASSIGN_OR_RETURN(const ModelFiles files, ModelFiles::Open(options.model));
  return Tokenizer::Create(files.metadata());
}

absl::Status CheckOneInput(const TokenizeOptions& options, absl::string_view cure) {
  const int given = options.text.has_value() + !options.file.empty() + !options.jsonl.empty() + !options.tokens.empty();
  return given == 1 ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrCat("give one input: ", cure));
}

// Calls `handle` with the JSON object of each line.
absl::Status ForEachLine(const std::string& path, const std::function<absl::Status(const nlohmann::json&)>& handle) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const nlohmann::json json = nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    absl::Status status = json.is_object() ? handle(json) : absl::DataLossError("the line is not a JSON object");
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat(path, ":", number, ": ", status.message()));
  }
  return absl::OkStatus();
}

absl::Status PrintIds(const TokenizeOptions& options, const Tokenizer& tokenizer, absl::string_view text) {
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text, ModeOf(options.parse_special)));
  if (options.bos) {
    if (!tokenizer.bos_id().has_value()) return absl::FailedPreconditionError("--bos: this tokenizer has no BOS token");
    ids.insert(ids.begin(), *tokenizer.bos_id());
  }
  absl::PrintF("%s\n", nlohmann::json({{"ids", ids}}).dump());
  return absl::OkStatus();
}

absl::Status Tokenize(const TokenizeOptions& options) {
  RETURN_IF_ERROR(CheckOneInput(options, "-p TEXT, -f FILE or --jsonl FILE"));
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, OpenTokenizer(options.common));
  if (options.text.has_value()) return PrintIds(options, tokenizer, *options.text);
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadTextFile(options.file));
    return PrintIds(options, tokenizer, text);
  }
  return ForEachLine(options.jsonl, [&](const nlohmann::json& line) -> absl::Status {
    const auto text = line.find("text");
    if (text == line.end() || !text->is_string()) return absl::DataLossError("field \"text\" is missing or no string");
    return PrintIds(options, tokenizer, text->get_ref<const std::string&>());
  });
}

absl::Status PrintText(const Tokenizer& tokenizer, absl::Span<const int32_t> ids) {
  ASSIGN_OR_RETURN(const std::string text, tokenizer.Decode(ids));
  absl::PrintF("%s\n", nlohmann::json({{"text", text}}).dump());
  return absl::OkStatus();
}

absl::Status Detokenize(const TokenizeOptions& options) {
  RETURN_IF_ERROR(CheckOneInput(options, "--tokens 1,2,3 or --jsonl FILE"));
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, OpenTokenizer(options.common));
  if (!options.tokens.empty()) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ParseTokenList(options.tokens));
    return PrintText(tokenizer, ids);
  }
  return ForEachLine(options.jsonl, [&](const nlohmann::json& line) -> absl::Status {
    const auto ids = line.find("ids");
    if (ids == line.end() || !ids->is_array()) return absl::DataLossError("field \"ids\" is missing or no list");
    std::vector<int32_t> tokens;
    for (const nlohmann::json& id : *ids) {
      if (!id.is_number_integer() || id < 0 || id > INT32_MAX) return absl::DataLossError("an id is no token id");
      tokens.push_back(id.get<int32_t>());
    }
    return PrintText(tokenizer, tokens);
  });
}

}  // namespace

Command AddTokenizeCommand(CLI::App* app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app->add_subcommand("tokenize", "text to token ids");
  AddModelOption(command, &options->common);
  command->add_option("-p,--prompt", options->text, "the text");
  command->add_option("-f,--file", options->file, "file with the text; - reads standard input");
  command->add_option("--jsonl", options->jsonl, "file of objects with \"text\", one a line");
  command->add_option("--parse-special", options->parse_special, "added tokens to recognise in the text")
      ->check(CLI::IsMember({"all", "user", "none"}))
      ->capture_default_str();
  command->add_flag("--bos", options->bos, "put the BOS token in front");
  return {command, [options] { return Tokenize(*options); }};
}

Command AddDetokenizeCommand(CLI::App* app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app->add_subcommand("detokenize", "token ids to text");
  AddModelOption(command, &options->common);
  command->add_option("--tokens", options->tokens, "token ids: 1,2,3");
  command->add_option("--jsonl", options->jsonl, "file of objects with \"ids\", one a line");
  return {command, [options] { return Detokenize(*options); }};
}

}  // namespace sluice
