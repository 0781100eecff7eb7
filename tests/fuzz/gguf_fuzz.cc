// libFuzzer target: any bytes are refused or give a header that keeps its promises.
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "storage/byte_source.h"
#include "storage/gguf.h"

namespace sluice {
namespace {

void CheckTensor(const GgufHeader& header, const GgufTensor& tensor, uint64_t size) {
  SLUICE_CHECK(tensor.n_dims >= 1 && tensor.n_dims <= 4);
  SLUICE_CHECK(FindTensorType(static_cast<uint32_t>(tensor.type)) != nullptr);
  SLUICE_CHECK(tensor.offset >= header.data_start);
  SLUICE_CHECK((tensor.offset - header.data_start) % header.alignment == 0);
  SLUICE_CHECK(tensor.offset <= size && tensor.bytes <= size - tensor.offset);
}

void CheckHeader(const GgufHeader& header, uint64_t size) {
  SLUICE_CHECK(header.version == 2 || header.version == 3);
  SLUICE_CHECK(header.data_start % header.alignment == 0);
  for (const GgufTensor& tensor : header.tensors) CheckTensor(header, tensor, size);
  for (const auto& entry : header.metadata.entries()) {
    SLUICE_CHECK(header.metadata.Find(entry.first) == &entry.second);
    // Readers must fail cleanly whatever the value is.
    (void)header.metadata.GetUint(entry.first).ok();
    (void)header.metadata.GetBool(entry.first).ok();
    (void)header.metadata.GetFloat(entry.first).ok();
    (void)header.metadata.GetString(entry.first).ok();
    (void)header.metadata.GetStrings(entry.first).ok();
    (void)header.metadata.GetInts(entry.first).ok();
    (void)header.metadata.GetFloats(entry.first).ok();
  }
}

void ParseOnce(absl::string_view bytes) {
  MemoryByteSource source(bytes);
  const absl::StatusOr<GgufHeader> header = ParseGguf(&source, "fuzz.gguf");
  if (header.ok()) {
    CheckHeader(*header, bytes.size());
    return;
  }
  SLUICE_CHECK(header.status().code() != absl::StatusCode::kInvalidArgument);
  SLUICE_CHECK(header.status().message().find("fuzz.gguf: ") == 0);
  SLUICE_CHECK(header.status().message().find('\n') == absl::string_view::npos);
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::ParseOnce(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
