#include "src/model/kv_cache.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status.h"

namespace sluice {

int64_t KvCache::BlocksFor(int64_t positions) { return CeilDiv(positions, kKvBlockTokens); }

KvCache::Shape KvCache::Counted(Shape shape) {
  if (shape.blocks == 0) shape.blocks = shape.sequences * BlocksFor(shape.context);
  return shape;
}

SpilledKv::Shape KvCache::SpilledShape(const Shape& counted) {
  const uint64_t block_bytes = SaturatingMul(RowBytes(counted.type, counted.width), kKvBlockTokens);
  return {{counted.layers, counted.blocks, block_bytes, counted.alignment}, counted.sequences, kKvBlockTokens};
}

uint64_t KvCache::RowsBytes(const Shape& asked) {
  const Shape shape = Counted(asked);
  const uint64_t layer_bytes =
      SaturatingMul(SpilledShape(shape).spill.block_bytes, static_cast<uint64_t>(shape.blocks));
  return SaturatingMul(layer_bytes, static_cast<uint64_t>(shape.layers));
}

uint64_t KvCache::TotalBytes(const Shape& asked) {
  const Shape shape = Counted(asked);
  const uint64_t tables = KvBlocks::MemoryBytes(shape.sequences, BlocksFor(shape.context), shape.blocks);
  if (shape.spilled) return SaturatingAdd(tables, SpilledKv::MemoryBytes(SpilledShape(shape)));
  return SaturatingAdd(RowsBytes(shape), tables);
}

uint64_t KvCache::SpillBytes(const Shape& shape) {
  return shape.spilled ? KvSpill::FileBytes(SpilledShape(Counted(shape)).spill) : 0;
}

uint64_t KvCache::memory_bytes() const {
  return memory_.size_bytes() + blocks_.memory_bytes() + (spilled_ == nullptr ? 0 : spilled_->memory_bytes());
}

absl::StatusOr<KvCache> KvCache::Create(const Shape& asked, const VectorOps* ops, KvSpill::Source spill) {
  const Shape shape = Counted(asked);
  KvCache cache;
  cache.shape_ = shape;
  cache.rows_ = KvRows(shape.type, shape.width, ops);
  cache.block_bytes_ = cache.rows_.row_bytes() * kKvBlockTokens;
  const int64_t table_blocks = BlocksFor(shape.context);
  if (shape.spilled) {
    ASSIGN_OR_RETURN(cache.spilled_, SpilledKv::Create(SpilledShape(shape), std::move(spill)));
  } else {
    ASSIGN_OR_RETURN(cache.memory_, AlignedBuffer::Create(RowsBytes(shape)));
  }
  cache.blocks_ = KvBlocks(shape.sequences, table_blocks, shape.blocks);
  for (int sequence = 0; asked.blocks == 0 && sequence < shape.sequences; ++sequence) {
    SLUICE_CHECK(cache.Reserve(sequence, shape.context));
  }
  return cache;
}

bool KvCache::Reserve(int sequence, int64_t positions, absl::Span<const int32_t> shared) {
  SLUICE_CHECK(positions <= shape_.context);
  if (!blocks_.Take(sequence, BlocksFor(positions), shared)) return false;
  if (spilled_ != nullptr) spilled_->Begin(sequence, static_cast<int64_t>(shared.size()) * kKvBlockTokens);
  return true;
}

bool KvCache::Adopt(int sequence, int64_t positions, absl::Span<const int32_t> blocks) {
  SLUICE_CHECK(spilled_ != nullptr && positions <= shape_.context);
  if (!blocks_.Adopt(sequence, BlocksFor(positions), blocks)) return false;
  spilled_->Begin(sequence, static_cast<int64_t>(blocks.size()) * kKvBlockTokens);
  return true;
}

void KvCache::Release(int sequence) { blocks_.Release(sequence); }

int64_t KvCache::capacity(int sequence) const {
  return std::min(shape_.context, static_cast<int64_t>(blocks(sequence).size()) * kKvBlockTokens);
}

uint8_t* KvCache::RowAt(int layer, int32_t block, int64_t row) const {
  const uint64_t row_offset = static_cast<uint64_t>(row) * rows_.row_bytes();
  if (spilled_ != nullptr) return spilled_->Place(layer, block) + row_offset;
  const uint64_t index = static_cast<uint64_t>(int64_t{layer} * shape_.blocks + block);
  return const_cast<uint8_t*>(memory_.data()) + index * block_bytes_ + row_offset;
}

void KvCache::Write(int layer, int sequence, int64_t position, const float* row) {
  SLUICE_DCHECK(layer < shape_.layers && sequence < shape_.sequences && position < capacity(sequence));
  const int32_t block = blocks_.at(sequence, position / kKvBlockTokens);
  SLUICE_CHECK(blocks_.owner(block) == sequence);
  rows_.Encode(row, RowAt(layer, block, position % kKvBlockTokens));
}

void KvCache::ReadColumns(int layer, int sequence, int64_t begin, int64_t count, int64_t first, int64_t columns,
                          float* out) const {
  SLUICE_DCHECK(first % KvRows::kBlock == 0 && first + columns <= shape_.width);
  SLUICE_DCHECK(layer < shape_.layers && sequence < shape_.sequences && begin + count <= capacity(sequence));
  while (count > 0) {
    const int64_t row = begin % kKvBlockTokens;
    const int64_t rows = std::min(count, kKvBlockTokens - row);
    rows_.Decode(RowAt(layer, blocks_.at(sequence, begin / kKvBlockTokens), row), rows, first, columns, out);
    begin += rows;
    count -= rows;
    out += rows * columns;
  }
}

void KvCache::FetchColumns(int layer, int sequence, int64_t begin, int64_t count, int64_t first,
                           int64_t columns) const {
  constexpr uint64_t kLineBytes = 64;
  const uint64_t from = KvRows::RowBytes(shape_.type, first), until = KvRows::RowBytes(shape_.type, first + columns);
  const int64_t end = std::min(begin + count, capacity(sequence));
  while (begin < end) {
    const int64_t row = begin % kKvBlockTokens;
    const int64_t rows = std::min(end - begin, kKvBlockTokens - row);
    const uint8_t* in = RowAt(layer, blocks_.at(sequence, begin / kKvBlockTokens), row);
    for (int64_t i = 0; i < rows; ++i, in += rows_.row_bytes()) {
      // Into the second-level cache: the first is full of what is worked on.
      for (uint64_t at = from; at < until; at += kLineBytes) __builtin_prefetch(in + at, 0, 2);
    }
    begin += rows;
  }
}

absl::Span<uint8_t> KvCache::Block(int layer, int sequence, int64_t index) {
  SLUICE_CHECK(spilled_ == nullptr);
  return {RowAt(layer, blocks_.at(sequence, index), 0), block_bytes_};
}

void KvCache::BeginSweep(const Sweep& sweep) {
  if (spilled_ != nullptr) spilled_->BeginSweep(sweep, &blocks_);
}

absl::Status KvCache::BeginLayer(int layer) {
  return spilled_ == nullptr ? absl::OkStatus() : spilled_->BeginLayer(layer, blocks_);
}

absl::Status KvCache::EndLayer(int layer) {
  return spilled_ == nullptr ? absl::OkStatus() : spilled_->EndLayer(layer, blocks_);
}

void KvCache::EndSweep() {
  if (spilled_ != nullptr) spilled_->EndSweep(&blocks_);
}

void KvCache::Cancel() {
  if (spilled_ != nullptr) spilled_->Cancel();
}

int64_t KvCache::sealed_blocks(int sequence) const {
  const absl::Span<const int32_t> held = blocks(sequence);
  const auto sealed = [this](int32_t block) { return blocks_.sealed(block); };
  return std::find_if_not(held.begin(), held.end(), sealed) - held.begin();
}

absl::Status KvCache::SyncSpill() { return spilled_ == nullptr ? absl::OkStatus() : spilled_->spill().Sync(); }

void KvCache::TakeLast(int32_t block) {
  SLUICE_CHECK(spilled_ != nullptr && IsFree(block));
  blocks_.set_sealed(block, true);
}

absl::Status KvCache::VerifySpill(absl::Span<const KvBlockChecksum> blocks) {
  SLUICE_CHECK(spilled_ != nullptr);
  RETURN_IF_ERROR(spilled_->spill().Verify(blocks));
  for (const KvBlockChecksum& block : blocks) {
    if (!IsFree(block.block) && !blocks_.sealed(block.block)) {
      return absl::DataLossError(absl::StrCat("spilled block ", block.block, " has been taken by another sequence"));
    }
    blocks_.set_sealed(block.block, true);
  }
  return absl::OkStatus();
}

}  // namespace sluice
