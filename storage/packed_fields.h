// Fields of a record, one behind the other, little-endian.
//
// The reader takes hostile bytes: it gives nothing past their end, and once a
// field was not there, ok() stays false.
#ifndef SLUICE_STORAGE_PACKED_FIELDS_H_
#define SLUICE_STORAGE_PACKED_FIELDS_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "absl/strings/string_view.h"

namespace sluice {

static_assert(std::endian::native == std::endian::little, "fields are copied as they lie in the file");

template <typename T>
void AppendField(std::string* out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

// With its length before it.
inline void AppendTextField(std::string* out, absl::string_view text) {
  AppendField(out, static_cast<uint32_t>(text.size()));
  out->append(text.data(), text.size());
}

class PackedReader {
 public:
  explicit PackedReader(absl::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }
  uint64_t bytes_left() const { return rest_.size(); }

  // Zero when it is not there.
  template <typename T>
  T Take() {
    static_assert(std::is_arithmetic_v<T>);
    T value{};
    const absl::string_view bytes = TakeBytes(sizeof(T));
    if (ok_) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  absl::string_view TakeText() { return TakeBytes(Take<uint32_t>()); }

  // A count of things that take at least `least_bytes` each: more than there can
  // be are none.
  uint32_t TakeCount(uint64_t least_bytes) {
    const uint32_t count = Take<uint32_t>();
    ok_ = ok_ && count <= rest_.size() / least_bytes;
    return ok_ ? count : 0;
  }

 private:
  absl::string_view TakeBytes(uint64_t bytes) {
    ok_ = ok_ && bytes <= rest_.size();
    if (!ok_) return {};
    const absl::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  absl::string_view rest_;
  bool ok_ = true;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_PACKED_FIELDS_H_
