#include "prefetch/routing_trace.h"

#include <doctest/doctest.h>
#include <zstd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

const char kHeader[] = R"({"model":"Small","layers":2,"experts":8,"top_k":2,"kind":"decode"})";
const char kToken[] = R"({"seq":3,"pos":27,"phase":"prompt","experts":[[5,1],[0,7]]})";

std::string Token(const std::string& experts) { return absl::StrCat(R"({"seq":0,"pos":0,"experts":)", experts, "}"); }

std::string Lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  return text;
}

// The message with which `text` is refused.
std::string Refusal(const std::string& text) {
  const auto trace = RoutingTrace::Parse(text);
  return trace.ok() ? "accepted" : std::string(trace.status().message());
}

std::string Compress(const std::string& text) {
  std::string bytes(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress(bytes.data(), bytes.size(), text.data(), text.size(), 3);
  REQUIRE_FALSE(ZSTD_isError(size));
  bytes.resize(size);
  return bytes;
}

TEST_CASE("a trace keeps the model's figures, the tokens and each event's ids in ascending order") {
  const auto trace = RoutingTrace::Parse(Lines({kHeader, kToken, Token("[[2,3],[7,6]]")}));
  REQUIRE(trace.ok());
  CHECK(trace->model() == "Small");
  CHECK(trace->layers() == 2);
  CHECK(trace->experts() == 8);
  CHECK(trace->top_k() == 2);
  REQUIRE(trace->tokens().size() == 2);
  CHECK(trace->tokens()[0].sequence == 3);
  CHECK(trace->tokens()[0].position == 27);
  REQUIRE(trace->events() == 4);
  CHECK(trace->EventLayer(3) == 1);
  CHECK(trace->EventExperts(0) == absl::Span<const int>({1, 5}));
  CHECK(trace->EventExperts(1) == absl::Span<const int>({0, 7}));
  CHECK(trace->EventExperts(3) == absl::Span<const int>({6, 7}));
}

TEST_CASE("the last line may lack its line feed, and lines may end as on Windows") {
  CHECK(RoutingTrace::Parse(absl::StrCat(kHeader, "\r\n", kToken, "\r\n", kToken))->tokens().size() == 2);
}

TEST_CASE("reading ends at the limit of tokens; what follows is not looked at") {
  const auto trace = RoutingTrace::Parse(Lines({kHeader, kToken, "not JSON"}), 1);
  REQUIRE(trace.ok());
  CHECK(trace->tokens().size() == 1);
}

TEST_CASE("a bad first line is refused with line and field") {
  const auto header = [](const std::string& fields) {
    return Refusal(Lines({absl::StrCat("{", fields, "}"), kToken}));
  };
  CHECK(Refusal("") == "routing trace: line 1: not a JSON object");
  CHECK(Refusal("[1,2]") == "routing trace: line 1: not a JSON object");
  CHECK(Refusal(std::string("\0\xff\xfe", 3)) == "routing trace: line 1: not a JSON object");
  CHECK(Refusal(kHeader) == "routing trace: no tokens after the first line");
  CHECK(header(R"("layers":2,"experts":8,"top_k":2)") == "routing trace: line 1: model: not there or not a string");
  CHECK(header(R"("model":7)") == "routing trace: line 1: model: not there or not a string");
  CHECK(header(R"("model":"")") == "routing trace: line 1: model: 0 bytes, must be 1 to 256");
  CHECK(header(absl::StrCat(R"("model":")", std::string(257, 'm'), R"(")")) ==
        "routing trace: line 1: model: 257 bytes, must be 1 to 256");
  CHECK(header(R"("model":"a\u001b[2J")") == "routing trace: line 1: model: holds control characters");
  CHECK(header(R"("model":"m")") == "routing trace: line 1: layers: not there");
  CHECK(header(R"("model":"m","layers":0)") == "routing trace: line 1: layers: 0 is not within 1 to 1024");
  CHECK(header(R"("model":"m","layers":-2)") == "routing trace: line 1: layers: -2 is not within 1 to 1024");
  CHECK(header(R"("model":"m","layers":1025)") == "routing trace: line 1: layers: 1025 is not within 1 to 1024");
  CHECK(header(R"("model":"m","layers":18446744073709551615)") ==
        "routing trace: line 1: layers: 18446744073709551615 is not within 1 to 1024");
  CHECK(header(R"("model":"m","layers":2.5)") == "routing trace: line 1: layers: not a whole number");
  CHECK(header(R"("model":"m","layers":2,"experts":4097)") ==
        "routing trace: line 1: experts: 4097 is not within 1 to 4096");
  CHECK(header(R"("model":"m","layers":2,"experts":8,"top_k":9)") ==
        "routing trace: line 1: top_k: 9 is not within 1 to 8");
}

TEST_CASE("a bad token is refused with line and field") {
  const auto token = [](const std::string& line) { return Refusal(Lines({kHeader, kToken, line})); };
  CHECK(token(kToken) == "accepted");
  CHECK(token("") == "routing trace: line 3: not a JSON object");
  CHECK(token(R"({"seq":0,"pos":0,"experts":[[1,)") == "routing trace: line 3: not a JSON object");
  CHECK(token(R"({"seq":1e999})") == "routing trace: line 3: not a JSON object");
  CHECK(token(R"({"pos":0,"experts":[[1,2],[3,4]]})") == "routing trace: line 3: seq: not there");
  CHECK(token(R"({"seq":0,"pos":"x"})") == "routing trace: line 3: pos: not a whole number");
  CHECK(token(R"({"seq":-1})") == "routing trace: line 3: seq: -1 is not within 0 to 9223372036854775807");
  CHECK(token(R"({"seq":9223372036854775808})") ==
        "routing trace: line 3: seq: 9223372036854775808 is not within 0 to 9223372036854775807");
  CHECK(token(R"({"seq":0,"pos":0})") == "routing trace: line 3: experts: not there or not a list");
  CHECK(token(Token("[[1,2]]")) == "routing trace: line 3: experts: 1 lists, the first line says 2 layers");
  CHECK(token(Token("[[1,2],[1,2],[1,2]]")) == "routing trace: line 3: experts: 3 lists, the first line says 2 layers");
  CHECK(token(Token("[[1,2],3]")) == "routing trace: line 3: experts[1]: not a list");
  CHECK(token(Token("[[1,2],[3]]")) == "routing trace: line 3: experts[1]: 1 ids, the first line says top_k 2");
  CHECK(token(Token("[[1,2,3],[3,4]]")) == "routing trace: line 3: experts[0]: 3 ids, the first line says top_k 2");
  CHECK(token(Token("[[1,2],[3,8]]")) == "routing trace: line 3: experts[1][1]: 8 is not within 0 to 7");
  CHECK(token(Token("[[-1,2],[3,4]]")) == "routing trace: line 3: experts[0][0]: -1 is not within 0 to 7");
  CHECK(token(Token("[[1,2],[3,null]]")) == "routing trace: line 3: experts[1][1]: not a whole number");
  CHECK(token(Token("[[5,5],[3,4]]")) == "routing trace: line 3: experts[0]: id 5 stands there twice");
}

TEST_CASE("neighbours of one sweep make one event of each layer; other tokens are alone") {
  const auto token = [](const std::string& sweep, const std::string& experts) {
    return absl::StrCat(R"({"seq":0,"pos":0,)", sweep, R"("experts":)", experts, "}");
  };
  const auto trace = RoutingTrace::Parse(
      Lines({kHeader, token(R"("sweep":4,)", "[[1,2],[5,6]]"), token(R"("sweep":4,)", "[[3,2],[6,5]]"),
             token(R"("sweep":5,)", "[[3,2],[6,5]]"), Token("[[0,1],[2,3]]"), Token("[[0,1],[2,3]]"),
             token(R"("sweep":5,)", "[[3,2],[6,5]]")}));
  REQUIRE(trace.ok());
  CHECK(trace->tokens().size() == 6);
  CHECK(trace->sweeps() == 5);
  REQUIRE(trace->events() == 10);
  CHECK(trace->EventExperts(0) == absl::Span<const int>({1, 2, 3}));
  CHECK(trace->EventExperts(1) == absl::Span<const int>({5, 6}));
  CHECK(trace->EventExperts(2) == absl::Span<const int>({2, 3}));
  CHECK(Refusal(Lines({kHeader, token(R"("sweep":-1,)", "[[1,2],[5,6]]")})) ==
        "routing trace: line 2: sweep: -1 is not within 0 to 9223372036854775807");
}

TEST_CASE("sizes of records are one for each layer, or refused") {
  const auto header = [](const std::string& sizes) {
    return Lines(
        {absl::StrCat(R"({"model":"m","layers":2,"experts":8,"top_k":2,"record_bytes":)", sizes, "}"), kToken});
  };
  CHECK(RoutingTrace::Parse(header("[5,1099511627776]"))->record_bytes() ==
        std::vector<uint64_t>{5, uint64_t{1} << 40});
  CHECK(RoutingTrace::Parse(Lines({kHeader, kToken}))->record_bytes().empty());
  CHECK(Refusal(header("7")) == "routing trace: line 1: record_bytes: not a list of 2 numbers");
  CHECK(Refusal(header("[7]")) == "routing trace: line 1: record_bytes: not a list of 2 numbers");
  CHECK(Refusal(header("[7,0]")) == "routing trace: line 1: record_bytes: 0 is not within 1 to 1099511627776");
  CHECK(Refusal(header("[7,1e3]")) == "routing trace: line 1: record_bytes: not a whole number");
}

TEST_CASE("a line above the limit is refused before it is parsed, one of deep brackets after") {
  const std::string long_line(RoutingTrace::kMaxLineBytes + 1, ' ');
  CHECK(Refusal(Lines({kHeader, long_line})) == "routing trace: line 2: 1048577 bytes long, the limit is 1048576");
  CHECK(RoutingTrace::Parse(long_line).status().code() == absl::StatusCode::kFailedPrecondition);
  const std::string deep(200000, '[');
  CHECK(Refusal(Lines({kHeader, deep})) == "routing trace: line 2: not a JSON object");
  CHECK(Refusal(Lines({kHeader, Token(deep + std::string(200000, ']'))})) ==
        "routing trace: line 2: experts: 1 lists, the first line says 2 layers");
}

TEST_CASE("frames of zstd give their text back, one or several, up to exactly the limit") {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{131072}, size_t{131073}, size_t{500000}}) {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * i >> 7);
    const std::string bytes = Compress(text);
    CHECK(DecompressZstd(bytes, size).value() == text);
    CHECK(DecompressZstd(bytes + bytes, 2 * size).value() == text + text);
    if (size == 0) continue;
    const auto above = DecompressZstd(bytes, size - 1);
    CHECK(above.status().code() == absl::StatusCode::kResourceExhausted);
    CHECK(above.status().message() == absl::StrCat("zstd: more than the limit of ", size - 1, " bytes of text"));
  }
}

TEST_CASE("a small frame of very much text ends at the limit") {
  const std::string bytes = Compress(std::string(size_t{32} << 20, 'x'));
  REQUIRE(bytes.size() < 10000);
  CHECK(DecompressZstd(bytes, 1000000).status().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("damaged frames, and frames cut at any byte, are refused") {
  const std::string bytes = Compress(Lines({kHeader, kToken, kToken, kToken}));
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto text = DecompressZstd(bytes.substr(0, size), 1000);
    REQUIRE(text.status().code() == absl::StatusCode::kDataLoss);
    REQUIRE(text.status().message() == absl::StrCat("zstd: cut short after ", size, " bytes"));
  }
  CHECK(DecompressZstd("this is no frame", 1000).status().code() == absl::StatusCode::kDataLoss);
  CHECK(DecompressZstd(bytes + "tail", 1000).status().code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace sluice
