#include "src/model/config_reader.h"

#include "absl/strings/str_cat.h"

namespace sluice {

std::string ConfigReader::Key(absl::string_view key) const { return absl::StrCat(prefix_, ".", key); }

bool ConfigReader::Has(absl::string_view key) const { return metadata_.Has(Key(key)); }

void ConfigReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

template <typename T>
T ConfigReader::Checked(absl::string_view key, const absl::StatusOr<T>& value, T min, T max) {
  if (!value.ok()) {
    Fail(value.status());
    return min;
  }
  if (!(*value >= min && *value <= max)) {
    Fail(absl::DataLossError(
        absl::StrCat("key ", Key(key), " is ", *value, ", but must lie between ", min, " and ", max)));
    return min;
  }
  return *value;
}

int64_t ConfigReader::Int(absl::string_view key, int64_t min, int64_t max) {
  const absl::StatusOr<uint64_t> value = metadata_.GetUint(Key(key));
  return static_cast<int64_t>(Checked<uint64_t>(key, value, min, max));
}

int64_t ConfigReader::IntOr(absl::string_view key, int64_t min, int64_t max, int64_t fallback) {
  return Has(key) ? Int(key, min, max) : fallback;
}

double ConfigReader::Float(absl::string_view key, double min, double max) {
  return Checked<double>(key, metadata_.GetFloat(Key(key)), min, max);
}

double ConfigReader::FloatOr(absl::string_view key, double min, double max, double fallback) {
  return Has(key) ? Float(key, min, max) : fallback;
}

bool ConfigReader::BoolOr(absl::string_view key, bool fallback) {
  const absl::StatusOr<bool> value = metadata_.GetBoolOr(Key(key), fallback);
  if (!value.ok()) Fail(value.status());
  return value.ok() ? *value : fallback;
}

std::string ConfigReader::StringOr(absl::string_view key, absl::string_view fallback) {
  absl::StatusOr<std::string> value = metadata_.GetStringOr(Key(key), fallback);
  if (!value.ok()) Fail(value.status());
  return value.ok() ? *std::move(value) : std::string(fallback);
}

void ConfigReader::Require(bool condition, absl::string_view message) {
  if (!condition) Fail(absl::DataLossError(message));
}

}  // namespace sluice
