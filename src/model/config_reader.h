// Reads a family's keys with bounds, remembering the first error.
//
// A family's reader is then a list of assignments with one check at the end.
#ifndef SLUICE_SRC_MODEL_CONFIG_READER_H_
#define SLUICE_SRC_MODEL_CONFIG_READER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/gguf.h"

namespace sluice {

class ConfigReader {
 public:
  // Keys are looked up as "<prefix>.<key>".
  ConfigReader(const GgufMetadata& metadata, std::string prefix) : metadata_(metadata), prefix_(std::move(prefix)) {}

  bool Has(absl::string_view key) const;
  // An integer in [min, max]. Without `fallback` the key must be there.
  int64_t Int(absl::string_view key, int64_t min, int64_t max);
  int64_t IntOr(absl::string_view key, int64_t min, int64_t max, int64_t fallback);
  double FloatOr(absl::string_view key, double min, double max, double fallback);
  double Float(absl::string_view key, double min, double max);
  bool BoolOr(absl::string_view key, bool fallback);
  std::string StringOr(absl::string_view key, absl::string_view fallback);
  // Records that `condition` must hold.
  void Require(bool condition, absl::string_view message);

  // The first thing that went wrong.
  const absl::Status& status() const { return status_; }

 private:
  std::string Key(absl::string_view key) const;
  void Fail(absl::Status status);
  template <typename T>
  T Checked(absl::string_view key, const absl::StatusOr<T>& value, T min, T max);

  const GgufMetadata& metadata_;
  std::string prefix_;
  absl::Status status_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_CONFIG_READER_H_
