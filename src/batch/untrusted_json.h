// JSON from strangers: parsed within limits, then read field by field.
#ifndef SLUICE_SRC_BATCH_UNTRUSTED_JSON_H_
#define SLUICE_SRC_BATCH_UNTRUSTED_JSON_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "src/batch/batch_request.h"

namespace sluice {

constexpr int kDeepestJson = 64;
constexpr int64_t kMostJsonValues = int64_t{1} << 20;  // bounds what a line takes in memory

// InvalidArgument for what is not JSON, says a field twice, or is above the limits.
absl::StatusOr<nlohmann::json> ParseUntrustedJson(absl::string_view text);

// What was given, short enough for a message.
std::string DescribeJson(const nlohmann::json& value);

// The fields of one object, which is borrowed. What returns false has said why in
// the ApiError. A field that is absent or null leaves what is read as it is.
class JsonFields {
 public:
  // `where` goes before field names in messages: "messages[3].".
  JsonFields(const nlohmann::json& object, std::string where, ApiError* error)
      : object_(object), where_(std::move(where)), error_(*error) {}

  // Nothing when absent or null.
  const nlohmann::json* Find(const char* name) const;

  bool Read(const char* name, std::string* out) const;
  bool Read(const char* name, bool* out) const;
  // Both limits are allowed.
  bool Read(const char* name, int64_t low, int64_t high, int64_t* out) const;
  bool Read(const char* name, double low, double high, double* out) const;

  // "NAME must be EXPECTED, not GIVEN", or that it is missing.
  bool Refuse(const char* name, absl::string_view expected) const;
  bool Fail(absl::string_view name, absl::string_view message, absl::string_view code) const;

  ApiError* error() const { return &error_; }
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& object_;
  const std::string where_;
  ApiError& error_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_UNTRUSTED_JSON_H_
