#include "src/batch/untrusted_json.h"

#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "src/text/utf8.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostShownBytes = 40;

std::string Shown(absl::string_view text) {
  if (text.size() <= kMostShownBytes) return std::string(text);
  const absl::string_view front = text.substr(0, kMostShownBytes);
  return absl::StrCat(front.substr(0, WellFormedPrefixBytes(front)), "...");
}

// Walks over a text without keeping it: what it lets pass may be held.
class LimitChecker : public nlohmann::json_sax<Json> {
 public:
  const std::string& problem() const { return problem_; }

  bool null() override { return Count(); }
  bool boolean(bool) override { return Count(); }
  bool number_integer(Json::number_integer_t) override { return Count(); }
  bool number_unsigned(Json::number_unsigned_t) override { return Count(); }
  bool number_float(Json::number_float_t, const std::string&) override { return Count(); }
  bool string(std::string&) override { return Count(); }
  bool binary(Json::binary_t&) override { return Count(); }
  bool start_object(size_t) override { return Enter(); }
  bool start_array(size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }

  bool key(std::string& name) override {
    if (names_.back().insert(name).second) return Count();
    return Refuse(absl::StrCat("it has the field \"", Shown(name), "\" twice in one object"));
  }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return Refuse(absl::StrCat("it goes wrong at byte ", position));
  }

 private:
  bool Refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }
  bool Count() {
    return ++values_ <= kMostJsonValues || Refuse(absl::StrCat("it holds more than ", kMostJsonValues, " values"));
  }
  bool Enter() {
    if (names_.size() == kDeepestJson)
      return Refuse(absl::StrCat("it is nested deeper than ", kDeepestJson, " levels"));
    names_.emplace_back();
    return Count();
  }
  bool Leave() {
    names_.pop_back();
    return true;
  }

  int64_t values_ = 0;
  std::vector<absl::flat_hash_set<std::string>> names_;  // of the open objects; empty for lists
  std::string problem_;
};

bool IsWithin(const Json& value, int64_t low, int64_t high) {
  if (!value.is_number_integer()) return false;
  // Those above the signed range are of a type of their own.
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    return high >= 0 && number <= static_cast<uint64_t>(high) && (low < 0 || number >= static_cast<uint64_t>(low));
  }
  return value.get<int64_t>() >= low && value.get<int64_t>() <= high;
}

}  // namespace

absl::StatusOr<Json> ParseUntrustedJson(absl::string_view text) {
  LimitChecker checker;
  if (!Json::sax_parse(text.begin(), text.end(), &checker)) return absl::InvalidArgumentError(checker.problem());
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  SLUICE_CHECK(!json.is_discarded());
  return json;
}

std::string DescribeJson(const Json& value) {
  if (value.is_string()) return absl::StrCat("\"", Shown(value.get_ref<const std::string&>()), "\"");
  if (value.is_array()) return value.empty() ? "an empty list" : absl::StrCat("a list of ", value.size());
  if (value.is_object()) return value.empty() ? "an empty object" : "an object";
  return value.dump();
}

const Json* JsonFields::Find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool JsonFields::Fail(absl::string_view name, absl::string_view message, absl::string_view code) const {
  error_.message = std::string(message);
  error_.param = absl::StrCat(where_, name);
  error_.code = std::string(code);
  return false;
}

bool JsonFields::Refuse(const char* name, absl::string_view expected) const {
  const auto found = object_.find(name);
  if (found == object_.end()) {
    return Fail(name, absl::StrCat(where_, name, " is missing: it must be ", expected), "missing_required_parameter");
  }
  return Fail(name, absl::StrCat(where_, name, " must be ", expected, ", not ", DescribeJson(*found)), "invalid_value");
}

bool JsonFields::Read(const char* name, std::string* out) const {
  const Json* value = Find(name);
  if (value == nullptr) return true;
  if (!value->is_string()) return Refuse(name, "a string");
  *out = value->get_ref<const std::string&>();
  return true;
}

bool JsonFields::Read(const char* name, bool* out) const {
  const Json* value = Find(name);
  if (value == nullptr) return true;
  if (!value->is_boolean()) return Refuse(name, "true or false");
  *out = value->get<bool>();
  return true;
}

bool JsonFields::Read(const char* name, int64_t low, int64_t high, int64_t* out) const {
  const Json* value = Find(name);
  if (value == nullptr) return true;
  if (!IsWithin(*value, low, high)) return Refuse(name, absl::StrCat("a whole number from ", low, " to ", high));
  *out = value->get<int64_t>();
  return true;
}

bool JsonFields::Read(const char* name, double low, double high, double* out) const {
  const Json* value = Find(name);
  if (value == nullptr) return true;
  const double number = value->is_number() ? value->get<double>() : high + 1;
  if (!(number >= low && number <= high)) return Refuse(name, absl::StrCat("a number from ", low, " to ", high));
  *out = number;
  return true;
}

}  // namespace sluice
