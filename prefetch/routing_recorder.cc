#include "prefetch/routing_recorder.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace sluice {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

// Ids fit the 16 bits that a choice is kept in.
static_assert(RoutingTrace::kMaxExperts <= INT16_MAX);

std::string Printable(std::string name) {
  for (char& c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  name.resize(std::min(name.size(), RoutingTrace::kMaxModelBytes));
  return name.empty() ? "unnamed" : name;
}

}  // namespace

absl::StatusOr<RoutingRecorder> RoutingRecorder::Create(const std::string& path) {
  RoutingRecorder recorder;
  ASSIGN_OR_RETURN(recorder.file_, FileWriter::Create(path));
  return recorder;
}

void RoutingRecorder::WriteHeader(const Header& header) {
  SLUICE_CHECK(header.layers >= 1 && header.experts >= header.top_k && header.top_k >= 1);
  header_ = header;
  nlohmann::ordered_json json = {{"model", Printable(header.model)},
                                 {"layers", header.layers},
                                 {"experts", header.experts},
                                 {"top_k", header.top_k}};
  if (!header.record_bytes.empty()) json["record_bytes"] = header.record_bytes;
  text_ = json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

void RoutingRecorder::Record(int layer, absl::Span<const RoutingTrace::Token> tokens, absl::Span<const int> choices) {
  SLUICE_CHECK(choices.size() == tokens.size() * static_cast<size_t>(header_.top_k));
  if (layer == 0) {
    choices_.clear();
    next_layer_ = 0;
  }
  if (layer != next_layer_ || !failure_.ok()) return;
  for (const int id : choices) choices_.push_back(static_cast<int16_t>(id));
  if (++next_layer_ == header_.layers) WriteSweep(tokens);
}

void RoutingRecorder::WriteSweep(absl::Span<const RoutingTrace::Token> tokens) {
  const size_t top_k = static_cast<size_t>(header_.top_k);
  for (size_t token = 0; token < tokens.size(); ++token) {
    absl::StrAppend(&text_, "{\"sweep\":", sweep_, ",\"seq\":", tokens[token].sequence,
                    ",\"pos\":", tokens[token].position, ",\"experts\":[");
    for (size_t layer = 0; layer < static_cast<size_t>(header_.layers); ++layer) {
      const int16_t* const ids = &choices_[(layer * tokens.size() + token) * top_k];
      for (size_t k = 0; k < top_k; ++k) absl::StrAppend(&text_, k > 0 ? "," : layer > 0 ? ",[" : "[", ids[k]);
      text_ += ']';
    }
    text_ += "]}\n";
    if (text_.size() >= kBufferBytes) Flush();
  }
  ++sweep_;
}

void RoutingRecorder::Flush() {
  failure_.Update(file_.Append(text_));
  text_.clear();
}

absl::Status RoutingRecorder::Finish() {
  Flush();
  RETURN_IF_ERROR(failure_);
  return file_.Commit();
}

uint64_t RoutingRecorder::MemoryBytes(int64_t tokens, int layers, int top_k) {
  // Both buffers grow by doubling.
  return 2 * (kBufferBytes + static_cast<uint64_t>(tokens * layers * top_k) * sizeof(int16_t));
}

}  // namespace sluice
