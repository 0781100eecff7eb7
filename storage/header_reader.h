// Reads packed little-endian fields in order and never past what is there.
//
// Owns one window of at most 256 KiB over a ByteSource. Each length and count is
// compared with the bytes left before anything is reserved for it. Also refuses
// headers above kMaxHeaderBytes: a sparse file can claim terabytes of keys.
// Errors read "NAME: SUBJECT: FIELD ...".
#ifndef SLUICE_STORAGE_HEADER_READER_H_
#define SLUICE_STORAGE_HEADER_READER_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/gguf.h"

namespace sluice {

class HeaderReader {
 public:
  // Ten times what a vocabulary of 250,000 tokens with scores and merges takes.
  static constexpr uint64_t kMaxHeaderBytes = uint64_t{128} << 20;

  HeaderReader(ByteSource* source, absl::string_view name);

  uint64_t position_bytes() const { return window_start_ + cursor_; }
  uint64_t size_bytes() const { return size_bytes_; }

  // What is read at present, such as "key 'general.name'"; empty for the file itself.
  void set_subject(std::string subject) { subject_ = std::move(subject); }

  template <typename T>
  absl::Status ReadNumber(absl::string_view field, T* out) {
    static_assert(std::is_arithmetic_v<T>);
    if (window_.size() - cursor_ < sizeof(T)) [[unlikely]]
      return ReadAcross(field, sizeof(T), out);
    std::memcpy(out, window_.data() + cursor_, sizeof(T));
    cursor_ += sizeof(T);
    return absl::OkStatus();
  }

  // A u64 length and that many bytes; `field` names the length.
  absl::Status ReadString(absl::string_view field, std::string* out);

  // Refuses a `count` of things that take at least `each_bytes` when they do not fit.
  absl::Status CheckRoom(absl::string_view field, uint64_t count, uint64_t each_bytes) const;

  // An error with name and subject before `message`: the file is damaged, or is
  // of a kind that this program does not read.
  absl::Status Damaged(absl::string_view message) const;
  absl::Status Unsupported(absl::string_view message) const;

 private:
  uint64_t left_bytes() const { return size_bytes_ - position_bytes(); }
  std::string Located(absl::string_view message) const;
  absl::Status ReadAcross(absl::string_view field, uint64_t length, void* out);
  absl::Status CopyOut(uint64_t length, void* out);
  absl::Status Refill();

  ByteSource* const source_;
  const std::string name_;
  const uint64_t size_bytes_;
  std::string subject_;
  uint64_t window_start_ = 0;    // place of the window in the file
  std::vector<uint8_t> window_;  // the bytes held
  size_t cursor_ = 0;            // next byte, within the window
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_HEADER_READER_H_
