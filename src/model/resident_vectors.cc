#include "src/model/resident_vectors.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/status.h"
#include "compute/dequantize.h"

namespace sluice {
namespace {

// "blk.3.attn_norm.weight" -> {3, "attn_norm.weight"}; other names -> {layers, name}.
std::pair<int, std::string> SplitName(absl::string_view name, int layers) {
  absl::string_view rest = name;
  int layer = layers;
  if (absl::ConsumePrefix(&rest, "blk.")) {
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(rest, absl::MaxSplits('.', 1));
    SLUICE_CHECK(absl::SimpleAtoi(parts.first, &layer));
    rest = parts.second;
  }
  return {layer, std::string(rest)};
}

absl::StatusOr<std::vector<float>> LoadVector(const GgufTensor& tensor, RecordLoader* loader) {
  const Record record{{{tensor.file, tensor.offset, tensor.bytes}}, 0, -1};
  std::vector<float> values(tensor.dims[0]);
  if (const uint8_t* mapped = loader->Mapped(record.slices[0])) {
    DequantizeRow(tensor.type, mapped, tensor.dims[0], values.data());
    return values;
  }
  ASSIGN_OR_RETURN(AlignedBuffer slot, AlignedBuffer::Create(SlotBytes(record, loader->alignment_bytes())));
  RETURN_IF_ERROR(loader->LoadNow(record, slot.data()));
  const uint8_t* bytes = slot.data() + SliceOffsetInSlot(record, 0, loader->alignment_bytes());
  DequantizeRow(tensor.type, bytes, tensor.dims[0], values.data());
  return values;
}

}  // namespace

uint64_t ResidentVectors::Bytes(const WeightLayout& layout) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : layout.vectors) bytes += tensor->dims[0] * sizeof(float) + 128;
  return bytes;
}

absl::StatusOr<ResidentVectors> ResidentVectors::Load(const WeightLayout& layout, int layers, RecordLoader* loader) {
  ResidentVectors vectors;
  vectors.by_layer_.resize(layers + 1);
  for (const auto& [name, tensor] : layout.vectors) {
    auto [layer, short_name] = SplitName(name, layers);
    SLUICE_CHECK(layer <= layers);
    ASSIGN_OR_RETURN(vectors.by_layer_[layer][short_name], LoadVector(*tensor, loader));
  }
  return vectors;
}

const float* ResidentVectors::Find(int layer, absl::string_view name) const {
  const auto it = by_layer_[layer].find(name);
  return it == by_layer_[layer].end() ? nullptr : it->second.data();
}

const float* ResidentVectors::FindGlobal(absl::string_view name) const {
  return Find(static_cast<int>(by_layer_.size()) - 1, name);
}

}  // namespace sluice
