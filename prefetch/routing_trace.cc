#include "prefetch/routing_trace.h"

#include <zstd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

constexpr int kMaxWindowLog = 27;

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

}  // namespace

// Reads line after line into one trace; knows the line for its messages.
class RoutingTraceParser {
 public:
  RoutingTraceParser(absl::string_view text, size_t max_tokens) : text_(text), max_tokens_(max_tokens) {}

  absl::StatusOr<RoutingTrace> Parse() {
    RETURN_IF_ERROR(ReadHeader());
    while (trace_.tokens_.size() < max_tokens_ && !text_.empty()) RETURN_IF_ERROR(ReadToken());
    if (trace_.tokens_.empty()) return absl::DataLossError("routing trace: no tokens after the first line");
    EndSweep();
    return std::move(trace_);
  }

 private:
  absl::Status ReadHeader() {
    ASSIGN_OR_RETURN(const Json head, NextLine());
    RETURN_IF_ERROR(ReadModel(head));
    ASSIGN_OR_RETURN(const int64_t layers, Number(head, "layers", 1, RoutingTrace::kMaxLayers));
    ASSIGN_OR_RETURN(const int64_t experts, Number(head, "experts", 1, RoutingTrace::kMaxExperts));
    ASSIGN_OR_RETURN(const int64_t top_k, Number(head, "top_k", 1, experts));
    trace_.layers_ = static_cast<int>(layers);
    trace_.experts_ = static_cast<int>(experts);
    trace_.top_k_ = static_cast<int>(top_k);
    return ReadRecordBytes(head);
  }

  absl::Status ReadModel(const Json& head) {
    const auto found = head.find("model");
    if (found == head.end() || !found->is_string()) return Damaged("model", "not there or not a string");
    trace_.model_ = found->get<std::string>();
    if (trace_.model_.empty() || trace_.model_.size() > RoutingTrace::kMaxModelBytes) {
      return Damaged("model",
                     absl::StrCat(trace_.model_.size(), " bytes, must be 1 to ", RoutingTrace::kMaxModelBytes));
    }
    if (std::any_of(trace_.model_.begin(), trace_.model_.end(), IsControl)) {
      return Damaged("model", "holds control characters");
    }
    return absl::OkStatus();
  }

  absl::Status ReadRecordBytes(const Json& head) {
    const auto list = head.find("record_bytes");
    if (list == head.end()) return absl::OkStatus();
    if (!list->is_array() || list->size() != static_cast<size_t>(trace_.layers_)) {
      return Damaged("record_bytes", absl::StrCat("not a list of ", trace_.layers_, " numbers"));
    }
    for (const Json& item : *list) {
      ASSIGN_OR_RETURN(const int64_t bytes, InRange(item, "record_bytes", 1, RoutingTrace::kMaxRecordBytes));
      trace_.record_bytes_.push_back(static_cast<uint64_t>(bytes));
    }
    return absl::OkStatus();
  }

  absl::Status ReadToken() {
    ASSIGN_OR_RETURN(const Json line, NextLine());
    RETURN_IF_ERROR(ReadSweep(line));
    ASSIGN_OR_RETURN(const int64_t sequence, Number(line, "seq", 0, std::numeric_limits<int64_t>::max()));
    ASSIGN_OR_RETURN(const int64_t position, Number(line, "pos", 0, std::numeric_limits<int64_t>::max()));
    const auto rows = line.find("experts");
    if (rows == line.end() || !rows->is_array()) return Damaged("experts", "not there or not a list");
    if (rows->size() != static_cast<size_t>(trace_.layers_)) {
      return Damaged("experts", absl::StrCat(rows->size(), " lists, the first line says ", trace_.layers_, " layers"));
    }
    for (size_t layer = 0; layer < rows->size(); ++layer) RETURN_IF_ERROR(ReadEvent((*rows)[layer], layer));
    trace_.tokens_.push_back({sequence, position});
    return absl::OkStatus();
  }

  // Ends the sweep before when the line begins another.
  absl::Status ReadSweep(const Json& line) {
    int64_t sweep = kAlone;
    if (line.contains("sweep")) {
      ASSIGN_OR_RETURN(sweep, Number(line, "sweep", 0, std::numeric_limits<int64_t>::max()));
    }
    if (sweep == kAlone || sweep != sweep_) EndSweep();
    sweep_ = sweep;
    return absl::OkStatus();
  }

  // Turns the rows of a sweep into its events.
  void EndSweep() {
    if (rows_.empty()) return;
    const size_t top_k = static_cast<size_t>(trace_.top_k_), row = top_k * static_cast<size_t>(trace_.layers_);
    for (size_t begin = 0; begin < row; begin += top_k) {
      const auto first = static_cast<std::ptrdiff_t>(trace_.ids_.size());
      for (size_t at = begin; at < rows_.size(); at += row) {
        trace_.ids_.insert(trace_.ids_.end(), rows_.begin() + at, rows_.begin() + at + top_k);
      }
      std::sort(trace_.ids_.begin() + first, trace_.ids_.end());
      trace_.ids_.erase(std::unique(trace_.ids_.begin() + first, trace_.ids_.end()), trace_.ids_.end());
      trace_.event_begins_.push_back(trace_.ids_.size());
    }
    rows_.clear();
  }

  absl::Status ReadEvent(const Json& row, size_t layer) {
    const size_t top_k = static_cast<size_t>(trace_.top_k_);
    if (!row.is_array()) return Damaged(Field(layer), "not a list");
    if (row.size() != top_k) {
      return Damaged(Field(layer), absl::StrCat(row.size(), " ids, the first line says top_k ", top_k));
    }
    for (size_t rank = 0; rank < top_k; ++rank) {
      ASSIGN_OR_RETURN(const int64_t id,
                       InRange(row[rank], absl::StrCat(Field(layer), "[", rank, "]"), 0, trace_.experts_ - 1));
      rows_.push_back(static_cast<int>(id));
    }
    const auto first = rows_.end() - trace_.top_k_;
    std::sort(first, rows_.end());
    const auto twice = std::adjacent_find(first, rows_.end());
    if (twice != rows_.end()) return Damaged(Field(layer), absl::StrCat("id ", *twice, " stands there twice"));
    return absl::OkStatus();
  }

  // The next line as an object; the last may lack its line feed.
  absl::StatusOr<Json> NextLine() {
    ++line_;
    const size_t end = std::min(text_.find('\n'), text_.size());
    if (end > RoutingTrace::kMaxLineBytes) {
      return absl::FailedPreconditionError(
          Located(absl::StrCat(end, " bytes long, the limit is ", RoutingTrace::kMaxLineBytes)));
    }
    Json json = Json::parse(text_.begin(), text_.begin() + end, nullptr, /*allow_exceptions=*/false);
    text_.remove_prefix(std::min(end + 1, text_.size()));
    if (!json.is_object()) return absl::DataLossError(Located("not a JSON object"));
    return json;
  }

  absl::StatusOr<int64_t> Number(const Json& object, const char* key, int64_t low, int64_t high) const {
    const auto found = object.find(key);
    if (found == object.end()) return Damaged(key, "not there");
    return InRange(*found, key, low, high);
  }

  // JSON's unsigned numbers reach beyond int64_t; `low` is never negative.
  absl::StatusOr<int64_t> InRange(const Json& value, absl::string_view field, int64_t low, int64_t high) const {
    if (!value.is_number_integer()) return Damaged(field, "not a whole number");
    const bool fits = value.is_number_unsigned() && value.get<uint64_t>() >= static_cast<uint64_t>(low) &&
                      value.get<uint64_t>() <= static_cast<uint64_t>(high);
    if (!fits) return Damaged(field, absl::StrCat(value.dump(), " is not within ", low, " to ", high));
    return value.get<int64_t>();
  }

  static std::string Field(size_t layer) { return absl::StrCat("experts[", layer, "]"); }
  std::string Located(absl::string_view message) const {
    return absl::StrCat("routing trace: line ", line_, ": ", message);
  }
  absl::Status Damaged(absl::string_view field, absl::string_view message) const {
    return absl::DataLossError(Located(absl::StrCat(field, ": ", message)));
  }

  absl::string_view text_;  // what is still unread
  const size_t max_tokens_;
  static constexpr int64_t kAlone = -1;

  size_t line_ = 0;
  int64_t sweep_ = kAlone;
  std::vector<int> rows_;  // of the present sweep, [token][layer][top_k]
  RoutingTrace trace_;
};

absl::StatusOr<RoutingTrace> RoutingTrace::Parse(absl::string_view text, size_t max_tokens) {
  SLUICE_CHECK(max_tokens >= 1);
  return RoutingTraceParser(text, max_tokens).Parse();
}

absl::StatusOr<std::string> DecompressZstd(absl::string_view bytes, uint64_t limit_bytes) {
  const std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  if (stream == nullptr) return absl::ResourceExhaustedError("zstd: no memory for a decoder");
  SLUICE_CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, kMaxWindowLog)));
  std::string text;
  std::string part(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in = {bytes.data(), bytes.size(), 0};
  size_t wanted = 1;  // 0 at the end of a frame
  bool more = true;
  while (more) {
    ZSTD_outBuffer out = {part.data(), part.size(), 0};
    wanted = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(wanted)) {
      return absl::DataLossError(absl::StrCat("zstd: byte ", in.pos, ": ", ZSTD_getErrorName(wanted)));
    }
    if (out.pos > limit_bytes - text.size()) {
      return absl::ResourceExhaustedError(absl::StrCat("zstd: more than the limit of ", limit_bytes, " bytes of text"));
    }
    text.append(part, 0, out.pos);
    // A full buffer inside a frame may mean that the decoder still holds text.
    more = in.pos < in.size || (wanted != 0 && out.pos == part.size());
  }
  if (wanted != 0) return absl::DataLossError(absl::StrCat("zstd: cut short after ", bytes.size(), " bytes"));
  return text;
}

}  // namespace sluice
