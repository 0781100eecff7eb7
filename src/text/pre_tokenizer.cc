#include "src/text/pre_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "base/check.h"
#include "base/status.h"
#include "src/text/pre_tokenizer_table.h"
#include "storage/gguf_text.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace sluice {
namespace {

constexpr size_t kJitStackStartBytes = 32 * 1024;
constexpr size_t kJitStackLimitBytes = 1024 * 1024;

struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct MatchContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct JitStackDeleter {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// A failed match steps back over a run once, so the work a pattern may do is a
// small multiple of the text; what exceeds it by far is a bug in a pattern.
uint32_t MatchLimit(size_t text_bytes) {
  const uint64_t limit = 10'000'000 + 16 * static_cast<uint64_t>(text_bytes);
  return static_cast<uint32_t>(std::min<uint64_t>(limit, std::numeric_limits<uint32_t>::max()));
}

// Borrowed memory of one Split call.
class Matcher {
 public:
  explicit Matcher(size_t text_bytes)
      : data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(kJitStackStartBytes, kJitStackLimitBytes, nullptr)) {
    if (context_ == nullptr) return;
    pcre2_set_match_limit(context_.get(), MatchLimit(text_bytes));
    // Without a JIT there is no stack, and none is needed.
    if (stack_ != nullptr) pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  }

  // Finds the first match at or behind `*begin` and sets its bounds; both
  // become the size of `text` when there is none.
  absl::Status Next(const pcre2_code* pattern, absl::string_view text, size_t* begin, size_t* end);

 private:
  int Match(const pcre2_code* pattern, absl::string_view text, size_t start);

  std::unique_ptr<pcre2_match_data, MatchDataDeleter> data_;
  std::unique_ptr<pcre2_match_context, MatchContextDeleter> context_;
  std::unique_ptr<pcre2_jit_stack, JitStackDeleter> stack_;
};

int Matcher::Match(const pcre2_code* pattern, absl::string_view text, size_t start) {
  if (data_ == nullptr || context_ == nullptr) return PCRE2_ERROR_NOMEMORY;
  // Checking the whole text before each match would make the work quadratic.
  const uint32_t options = PCRE2_NO_UTF_CHECK;
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int result = pcre2_match(pattern, subject, text.size(), start, options, data_.get(), context_.get());
  if (result >= 0 || result == PCRE2_ERROR_NOMATCH) return result;
  // The interpreter counts its work differently and needs no machine stack.
  return pcre2_match(pattern, subject, text.size(), start, options | PCRE2_NO_JIT, data_.get(), context_.get());
}

absl::Status Matcher::Next(const pcre2_code* pattern, absl::string_view text, size_t* begin, size_t* end) {
  const int result = Match(pattern, text, *begin);
  if (result == PCRE2_ERROR_NOMATCH) {
    *begin = *end = text.size();
    return absl::OkStatus();
  }
  if (result < 0) {
    return absl::ResourceExhaustedError(absl::StrCat("splitting a text of ", text.size(),
                                                     " bytes for the tokenizer failed with pattern error ", result,
                                                     "; give the text in smaller parts"));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_.get());
  SLUICE_CHECK(bounds[0] >= *begin && bounds[1] > bounds[0] && bounds[1] <= text.size());
  *begin = bounds[0];
  *end = bounds[1];
  return absl::OkStatus();
}

using Emit = absl::FunctionRef<void(absl::string_view)>;
using Patterns = absl::Span<const pcre2_code* const>;

absl::Status SplitWith(Patterns patterns, absl::string_view text, Matcher* matcher, Emit emit) {
  if (text.empty()) return absl::OkStatus();
  if (patterns.empty()) {
    emit(text);
    return absl::OkStatus();
  }
  size_t done = 0;
  while (done < text.size()) {
    size_t begin = done;
    size_t end = done;
    RETURN_IF_ERROR(matcher->Next(patterns[0], text, &begin, &end));
    RETURN_IF_ERROR(SplitWith(patterns.subspan(1), text.substr(done, begin - done), matcher, emit));
    RETURN_IF_ERROR(SplitWith(patterns.subspan(1), text.substr(begin, end - begin), matcher, emit));
    done = end;
  }
  return absl::OkStatus();
}

absl::StatusOr<pcre2_code*> Compile(absl::string_view pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &error, &offset, nullptr);
  if (code == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("the PCRE2 library refuses a pre-tokenizer pattern (error ",
                                                      error, " at ", offset,
                                                      "); a build of PCRE2 with Unicode support is needed"));
  }
  // Where no machine code may be made the interpreter does the same, slower.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return code;
}

}  // namespace

void PreTokenizer::CodeDeleter::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

std::string PreTokenizer::KnownNames() {
  return absl::StrJoin(PreTokenizerSpecs(), ", ",
                       [](std::string* out, const PreTokenizerSpec& spec) { absl::StrAppend(out, spec.name); });
}

absl::StatusOr<PreTokenizer> PreTokenizer::Create(absl::string_view name) {
  const absl::Span<const PreTokenizerSpec> specs = PreTokenizerSpecs();
  const auto spec = std::find_if(specs.begin(), specs.end(), [&](const auto& s) { return s.name == name; });
  if (spec == specs.end()) {
    return absl::FailedPreconditionError(absl::StrCat("tokenizer.ggml.pre: unknown pre-tokenizer ", QuotedName(name),
                                                      "; known ones are ", KnownNames()));
  }
  PreTokenizer made;
  made.normalizes_to_nfc_ = spec->normalizes_to_nfc;
  for (absl::string_view pattern : spec->patterns) {
    ASSIGN_OR_RETURN(pcre2_code * code, Compile(pattern));
    made.patterns_.emplace_back(code);
  }
  return made;
}

absl::Status PreTokenizer::Split(absl::string_view text, Emit emit) const {
  std::vector<const pcre2_code*> patterns;
  patterns.reserve(patterns_.size());
  for (const auto& pattern : patterns_) patterns.push_back(pattern.get());
  Matcher matcher(text.size());
  return SplitWith(patterns, text, &matcher, emit);
}

}  // namespace sluice
