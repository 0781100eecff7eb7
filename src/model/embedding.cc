#include "src/model/embedding.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "compute/dequantize.h"

namespace sluice {
namespace {

// Enough reads in flight to fill any drive with small ones.
constexpr int64_t kBatchRows = 64;

}  // namespace

Embedding::Embedding(Arena* arena, const GgufTensor& table, uint32_t alignment, int64_t max_rows,
                     const std::atomic<bool>* stop)
    : table_(table),
      alignment_(alignment),
      row_bytes_(RowBytes(table.type, table.dims[0])),
      slot_bytes_(AlignUp(row_bytes_, alignment) + alignment),
      batch_rows_(std::min(max_rows, kBatchRows)),
      stop_(stop) {
  const uint8_t* unaligned = arena->Take<uint8_t>(batch_rows_ * slot_bytes_ + alignment);
  slots_ = reinterpret_cast<uint8_t*>(AlignUp(reinterpret_cast<uintptr_t>(unaligned), alignment));
  records_.resize(batch_rows_);
  for (Record& record : records_) record.slices.resize(1);
}

Embedding::~Embedding() {
  MutexLock lock(&mutex_);
  while (in_flight_ > 0) loaded_condition_.Wait(&mutex_);
}

Slice Embedding::RowSlice(int32_t token) const {
  SLUICE_CHECK(token >= 0 && static_cast<uint64_t>(token) < table_.dims[1]);
  return {table_.file, table_.offset + static_cast<uint64_t>(token) * row_bytes_, row_bytes_};
}

absl::Status Embedding::Read(absl::Span<const Row> rows, RecordLoader* loader, float* const* out) {
  for (size_t begin = 0; begin < rows.size(); begin += batch_rows_) {
    RETURN_IF_ERROR(ReadBatch(rows.subspan(begin, batch_rows_), loader, out + begin));
  }
  return absl::OkStatus();
}

absl::Status Embedding::ReadBatch(absl::Span<const Row> rows, RecordLoader* loader, float* const* out) {
  const int64_t elements = static_cast<int64_t>(table_.dims[0]);
  const bool mapped = loader->Mapped(RowSlice(rows[0].token)) != nullptr;
  if (!mapped) {
    // Reads of a sweep that was stopped may be on their way still; how they end
    // is of no interest.
    const absl::Status earlier = AwaitAll();
    if (absl::IsCancelled(earlier)) return earlier;
    Queue(rows, loader);
    RETURN_IF_ERROR(AwaitAll());
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const Slice slice = RowSlice(rows[i].token);
    const uint8_t* bytes = mapped ? loader->Mapped(slice) : slots_ + i * slot_bytes_ + slice.offset % alignment_;
    DequantizeRow(table_.type, bytes, elements, out[i]);
  }
  return absl::OkStatus();
}

void Embedding::Queue(absl::Span<const Row> rows, RecordLoader* loader) {
  {
    MutexLock lock(&mutex_);
    in_flight_ = rows.size();
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    records_[i].slices[0] = RowSlice(rows[i].token);
    loader->Load(&records_[i], slots_ + i * slot_bytes_, LoadPriority::kDemand, this, i);
  }
}

absl::Status Embedding::AwaitAll() {
  MutexLock lock(&mutex_);
  while (in_flight_ > 0) {
    RETURN_IF_ERROR(stop_.Check());
    stop_.Wait(&loaded_condition_, &mutex_);
  }
  return std::exchange(status_, absl::OkStatus());
}

void Embedding::OnLoaded(uint64_t, absl::Status status) {
  MutexLock lock(&mutex_);
  --in_flight_;
  status_.Update(std::move(status));
  loaded_condition_.NotifyOne();
}

}  // namespace sluice
