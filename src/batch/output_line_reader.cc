// ParseOutputLine: reads back what batch_response.cc writes.
#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "src/batch/batch_response.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

// Picks the few fields wanted out of a line that may be large and is not kept.
// Every callback returns whether the line can still be one of ours.
class OutputLineReader : public nlohmann::json_sax<Json> {
 public:
  absl::optional<DoneLine> Result() const {
    const bool is_whole = has_id_ && has_custom_id_ && has_request_id_ && has_error_;
    if (!is_whole || status_code_ != (done_.is_error ? 400u : 200u)) return absl::nullopt;
    if (done_.is_error == has_tokens_) return absl::nullopt;
    return done_;
  }

  bool null() override {
    if (At({"error"})) return First(&has_error_);
    return At({"custom_id"}) ? First(&has_custom_id_) : true;
  }
  bool boolean(bool) override { return true; }
  bool number_integer(Json::number_integer_t) override { return true; }
  bool number_float(Json::number_float_t, const std::string&) override { return true; }
  bool binary(Json::binary_t&) override { return true; }

  bool number_unsigned(Json::number_unsigned_t value) override {
    if (At({"response", "status_code"})) status_code_ = value;
    if (!At({"response", "body", "usage", "completion_tokens"})) return true;
    done_.completion_tokens = value;
    return First(&has_tokens_);
  }

  bool string(std::string& value) override {
    if (At({"id"})) return First(&has_id_) && ReadId("batch_req_", value, &done_.line);
    if (At({"custom_id"})) {
      done_.custom_id = value;
      return First(&has_custom_id_);
    }
    uint64_t line = 0;
    // Behind "id", which has told the line.
    if (At({"response", "request_id"})) {
      return First(&has_request_id_) && ReadId("req_", value, &line) && line == done_.line;
    }
    return true;
  }

  bool start_object(size_t) override {
    if (At({"error"})) {
      done_.is_error = true;
      if (!First(&has_error_)) return false;
    }
    return Enter();
  }
  bool start_array(size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }
  bool key(std::string& name) override {
    names_[depth_ - 1] = name;
    return true;
  }
  bool parse_error(size_t, const std::string&, const Json::exception&) override { return false; }

 private:
  // Our lines are not so deep.
  static constexpr size_t kDeepest = 12;

  static bool First(bool* has) { return !std::exchange(*has, true); }

  // Only as LineId writes it.
  static bool ReadId(absl::string_view prefix, absl::string_view id, uint64_t* line) {
    return absl::ConsumePrefix(&id, prefix) && absl::SimpleAtoi(id, line) && id == absl::StrFormat("%09d", *line);
  }

  bool At(std::initializer_list<absl::string_view> path) const {
    return path.size() == depth_ && std::equal(path.begin(), path.end(), names_.begin());
  }
  bool Enter() {
    if (depth_ == kDeepest) return false;
    names_[depth_++].clear();
    return true;
  }
  bool Leave() {
    --depth_;
    return true;
  }

  size_t depth_ = 0;
  std::array<std::string, kDeepest> names_;  // of the open fields; empty in lists
  DoneLine done_;
  uint64_t status_code_ = 0;
  bool has_id_ = false;
  bool has_custom_id_ = false;
  bool has_request_id_ = false;
  bool has_error_ = false;
  bool has_tokens_ = false;
};

}  // namespace

absl::optional<DoneLine> ParseOutputLine(absl::string_view line) {
  // Cheap, and rules out most that is not ours.
  if (!absl::StartsWith(line, "{\"id\":\"batch_req_")) return absl::nullopt;
  OutputLineReader reader;
  if (!Json::sax_parse(line.begin(), line.end(), &reader)) return absl::nullopt;
  return reader.Result();
}

}  // namespace sluice
