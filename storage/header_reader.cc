#include "storage/header_reader.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace sluice {

static_assert(std::endian::native == std::endian::little, "fields are copied as they lie in the file");

namespace {

constexpr uint64_t kWindowBytes = uint64_t{256} << 10;

}  // namespace

HeaderReader::HeaderReader(ByteSource* source, absl::string_view name)
    : source_(source), name_(name), size_bytes_(source->size_bytes()) {}

absl::Status HeaderReader::ReadString(absl::string_view field, std::string* out) {
  uint64_t length = 0;
  RETURN_IF_ERROR(ReadNumber(field, &length));
  RETURN_IF_ERROR(CheckRoom(field, length, 1));
  out->resize(length);
  return CopyOut(length, out->data());
}

absl::Status HeaderReader::CheckRoom(absl::string_view field, uint64_t count, uint64_t each_bytes) const {
  if (count > left_bytes() / each_bytes) {
    return Damaged(absl::StrCat(field, " ", count, " does not fit in the ", left_bytes(), " bytes left"));
  }
  if (position_bytes() > kMaxHeaderBytes || count > (kMaxHeaderBytes - position_bytes()) / each_bytes) {
    return Unsupported(
        absl::StrCat(field, " ", count, " makes the header longer than the limit of ", kMaxHeaderBytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status HeaderReader::Damaged(absl::string_view message) const { return absl::DataLossError(Located(message)); }

absl::Status HeaderReader::Unsupported(absl::string_view message) const {
  return absl::FailedPreconditionError(Located(message));
}

std::string HeaderReader::Located(absl::string_view message) const {
  if (subject_.empty()) return absl::StrCat(name_, ": ", message);
  return absl::StrCat(name_, ": ", subject_, ": ", message);
}

absl::Status HeaderReader::ReadAcross(absl::string_view field, uint64_t length, void* out) {
  if (length > left_bytes()) {
    return Damaged(
        absl::StrCat(field, " needs ", length, " bytes, ", left_bytes(), " are left: the file is cut short"));
  }
  return CopyOut(length, out);
}

absl::Status HeaderReader::CopyOut(uint64_t length, void* out) {
  SLUICE_DCHECK(length <= left_bytes());
  auto* to = static_cast<uint8_t*>(out);
  while (length > 0) {
    if (cursor_ == window_.size()) RETURN_IF_ERROR(Refill());
    const size_t step = std::min<uint64_t>(length, window_.size() - cursor_);
    std::memcpy(to, window_.data() + cursor_, step);
    cursor_ += step;
    to += step;
    length -= step;
  }
  return absl::OkStatus();
}

absl::Status HeaderReader::Refill() {
  const uint64_t position = position_bytes();
  window_.resize(std::min(kWindowBytes, size_bytes_ - position));
  window_start_ = position;
  cursor_ = 0;
  return source_->Read(position, window_.size(), window_.data());
}

}  // namespace sluice
