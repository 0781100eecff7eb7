#include "storage/gguf_writer.h"

#include <cstring>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/checked_math.h"

namespace sluice {
namespace {

constexpr uint32_t kVersion = 3;

// Bytes little-endian, whatever the host.
class HeaderBytes {
 public:
  template <typename T>
  void Number(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes_ += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i) & 255);
  }
  void Float(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    Number(bits);
  }
  void Double(double value) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    Number(bits);
  }
  void String(absl::string_view text) {
    Number<uint64_t>(text.size());
    bytes_.append(text.data(), text.size());
  }
  void Type(GgufValueType type) { Number(static_cast<uint32_t>(type)); }

  void Integer(GgufValueType type, uint64_t value) {
    switch (type) {
      case GgufValueType::kU8:
      case GgufValueType::kI8:
      case GgufValueType::kBool:
        return Number(static_cast<uint8_t>(value));
      case GgufValueType::kU16:
      case GgufValueType::kI16:
        return Number(static_cast<uint16_t>(value));
      case GgufValueType::kU32:
      case GgufValueType::kI32:
        return Number(static_cast<uint32_t>(value));
      default:
        return Number(value);
    }
  }
  void Real(GgufValueType type, double value) {
    if (type == GgufValueType::kF32) return Float(static_cast<float>(value));
    Double(value);
  }

  void Array(const GgufArray& array) {
    Type(array.element_type);
    Number<uint64_t>(array.size());
    if (const auto* integers = std::get_if<std::vector<int64_t>>(&array.items)) {
      for (int64_t item : *integers) Integer(array.element_type, static_cast<uint64_t>(item));
    } else if (const auto* reals = std::get_if<std::vector<double>>(&array.items)) {
      for (double item : *reals) Real(array.element_type, item);
    } else {
      for (const std::string& item : std::get<std::vector<std::string>>(array.items)) String(item);
    }
  }

  void Value(const GgufValue& value) {
    Type(value.type);
    if (const auto* natural = std::get_if<uint64_t>(&value.value)) return Integer(value.type, *natural);
    if (const auto* integer = std::get_if<int64_t>(&value.value)) {
      return Integer(value.type, static_cast<uint64_t>(*integer));
    }
    if (const auto* real = std::get_if<double>(&value.value)) return Real(value.type, *real);
    if (const auto* flag = std::get_if<bool>(&value.value)) return Integer(value.type, *flag);
    if (const auto* text = std::get_if<std::string>(&value.value)) return String(*text);
    Array(std::get<GgufArray>(value.value));
  }

  void Tensor(const GgufTensor& tensor, uint64_t data_start) {
    String(tensor.name);
    Number(static_cast<uint32_t>(tensor.n_dims));
    for (int i = 0; i < tensor.n_dims; ++i) Number(tensor.dims[i]);
    Number(static_cast<uint32_t>(tensor.type));
    Number(tensor.offset - data_start);
  }

  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

std::string HeaderOf(const GgufMetadata& metadata, const std::vector<GgufTensor>& tensors, uint64_t data_start) {
  HeaderBytes out;
  out.bytes() = "GGUF";
  out.Number(kVersion);
  out.Number<uint64_t>(tensors.size());
  out.Number<uint64_t>(metadata.entries().size());
  for (const auto& [key, value] : metadata.entries()) {
    out.String(key);
    out.Value(value);
  }
  for (const GgufTensor& tensor : tensors) out.Tensor(tensor, data_start);
  return std::move(out.bytes());
}

uint64_t TensorBytes(const GgufTensor& tensor) {
  SLUICE_CHECK(tensor.n_dims >= 1 && tensor.n_dims <= 4);
  SLUICE_CHECK(tensor.dims[0] % InfoOf(tensor.type).block_elements == 0);
  return RowBytes(tensor.type, tensor.dims[0]) * tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
}

}  // namespace

GgufLayout LayOutGguf(const GgufMetadata& metadata, uint64_t alignment, std::vector<GgufTensor>* tensors) {
  SLUICE_CHECK(IsPowerOfTwo(alignment));
  GgufLayout layout;
  // Offsets have a fixed width: the header's length is known before they are.
  for (GgufTensor& tensor : *tensors) tensor.offset = 0;
  const uint64_t data_start = AlignUp(HeaderOf(metadata, *tensors, 0).size(), alignment);
  layout.file_bytes = data_start;
  for (GgufTensor& tensor : *tensors) {
    tensor.offset = layout.file_bytes;
    tensor.bytes = TensorBytes(tensor);
    layout.file_bytes = AlignUp(tensor.offset + tensor.bytes, alignment);
  }
  layout.header = HeaderOf(metadata, *tensors, data_start);
  layout.header.resize(data_start, '\0');
  return layout;
}

}  // namespace sluice
