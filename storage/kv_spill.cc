#include "storage/kv_spill.h"

#include <xxhash.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "base/status.h"

namespace sluice {
namespace {

uint64_t PlaceBytes(const KvSpill::Shape& shape) {
  return AlignUp(shape.block_bytes, std::max<uint64_t>(shape.alignment, 4096));
}

uint64_t LayerBytes(const KvSpill::Shape& shape) {
  // Rounding up must not wrap.
  if (shape.block_bytes > uint64_t{1} << 62) return UINT64_MAX;
  return SaturatingMul(PlaceBytes(shape), static_cast<uint64_t>(shape.blocks));
}

// Runs of neighbours that can be apart at the same time.
uint64_t MostRuns(const KvSpill::Shape& shape) { return CeilDiv(static_cast<uint64_t>(shape.blocks), uint64_t{2}); }

// What the reads of one layer take: records, each with its one slice.
uint64_t RecordBytes(uint64_t runs) { return SaturatingMul(runs, sizeof(Record) + sizeof(Slice)); }

}  // namespace

uint64_t KvSpill::ChainedChecksum(uint64_t before, absl::Span<const uint8_t> bytes) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), before);
}

uint64_t KvSpill::FileBytes(const Shape& shape) {
  return SaturatingMul(LayerBytes(shape), static_cast<uint64_t>(shape.layers));
}

uint64_t KvSpill::MemoryBytes(const Shape& shape) {
  const uint64_t by_block = SaturatingMul(static_cast<uint64_t>(shape.blocks), sizeof(uint64_t));
  const uint64_t one_layer = SaturatingAdd(LayerBytes(shape), RecordBytes(MostRuns(shape)));
  return SaturatingAdd(SaturatingMul(2, one_layer), by_block);
}

uint64_t KvSpill::memory_bytes() const {
  uint64_t bytes = memory_.size_bytes() + checksums_.capacity() * sizeof(uint64_t);
  for (const std::vector<Record>& records : records_) bytes += RecordBytes(records.capacity());
  return bytes;
}

KvSpill::KvSpill(const Shape& shape, Source source)
    : shape_(shape),
      place_bytes_(PlaceBytes(shape)),
      loader_(source.loader),
      file_(source.file),
      writes_(std::move(source.writer)),
      stop_(source.stop) {}

absl::StatusOr<std::unique_ptr<KvSpill>> KvSpill::Create(const Shape& shape, Source source) {
  SLUICE_CHECK(source.loader != nullptr && source.writer != nullptr);
  SLUICE_CHECK(source.writer->size_bytes() >= FileBytes(shape));
  std::unique_ptr<KvSpill> spill(new KvSpill(shape, std::move(source)));
  const uint64_t alignment = std::max<uint64_t>(shape.alignment, 4096);
  ASSIGN_OR_RETURN(spill->memory_, AlignedBuffer::Create(SaturatingMul(2, LayerBytes(shape)), alignment));
  for (std::vector<Record>& records : spill->records_) {
    records = std::vector<Record>(MostRuns(shape));
    for (Record& record : records) record.slices.resize(1);
  }
  spill->checksums_ = std::vector<uint64_t>(static_cast<size_t>(shape.blocks));
  return spill;
}

void KvSpill::Read(int layer, absl::Span<const uint8_t> wanted) {
  SLUICE_CHECK(static_cast<int64_t>(wanted.size()) == shape_.blocks);
  {
    MutexLock lock(&mutex_);
    SLUICE_CHECK(landings_[layer % 2].loading == 0);
    landings_[layer % 2].status = absl::OkStatus();
  }
  Record* record = records_[layer % 2].data();
  for (int64_t begin = 0; begin < shape_.blocks;) {
    if (wanted[begin] == 0) {
      ++begin;
      continue;
    }
    int64_t end = begin + 1;
    while (end < shape_.blocks && wanted[end] != 0) ++end;
    ReadRun(layer, begin, end, record++);
    begin = end;
  }
}

void KvSpill::ReadRun(int layer, int64_t begin, int64_t end, Record* record) {
  const uint64_t bytes = static_cast<uint64_t>(end - begin) * place_bytes_;
  record->slices[0] = {file_, FileOffset(layer, begin), bytes};
  record->layer = layer;
  bytes_read_ += bytes;
  {
    MutexLock lock(&mutex_);
    ++landings_[layer % 2].loading;
  }
  loader_->Load(record, Place(layer, begin), LoadPriority::kStream, this, static_cast<uint64_t>(layer));
}

void KvSpill::OnLoaded(uint64_t token, absl::Status status) {
  // Told under the mutex: once it is free the waiting thread may destroy us.
  MutexLock lock(&mutex_);
  Landing& landing = landings_[token % 2];
  landing.status.Update(std::move(status));
  --landing.loading;
  news_.NotifyAll();
}

absl::Status KvSpill::Await(int layer) {
  MutexLock lock(&mutex_);
  Landing& landing = landings_[layer % 2];
  if (landing.loading > 0) {
    const int64_t start_ns = NowNs();
    while (landing.loading > 0 && !stop_.raised()) stop_.Wait(&news_, &mutex_);
    stall_ns_ += NowNs() - start_ns;
  }
  if (landing.loading > 0) return stop_.Check();
  if (landing.status.ok()) return absl::OkStatus();
  return absl::Status(landing.status.code(),
                      absl::StrCat("spilled keys and values of layer ", layer, ": ", landing.status.message()));
}

void KvSpill::Cancel() {
  MutexLock lock(&mutex_);
  if (loading() > 0) loader_->Discard(this);
  while (loading() > 0) news_.Wait(&mutex_);
}

absl::Status KvSpill::Write(int layer, absl::Span<const int32_t> blocks) {
  const int64_t start_ns = NowNs();
  absl::Status status;
  for (size_t begin = 0; begin < blocks.size() && status.ok();) {
    size_t end = begin + 1;
    while (end < blocks.size() && blocks[end] == blocks[end - 1] + 1) ++end;
    status = WriteRun(layer, blocks.subspan(begin, end - begin));
    begin = end;
  }
  if (status.ok()) AddToChecksums(layer, blocks);
  stall_ns_ += NowNs() - start_ns;
  return status;
}

absl::Status KvSpill::WriteRun(int layer, absl::Span<const int32_t> blocks) {
  const uint64_t bytes = blocks.size() * place_bytes_;
  RETURN_IF_ERROR(writes_->WriteAt(FileOffset(layer, blocks[0]), {Place(layer, blocks[0]), bytes}));
  bytes_written_ += bytes;
  return absl::OkStatus();
}

void KvSpill::AddToChecksums(int layer, absl::Span<const int32_t> blocks) {
  for (const int32_t block : blocks) {
    const uint64_t before = layer == 0 ? 0 : checksums_[block];
    checksums_[block] = ChainedChecksum(before, {Place(layer, block), shape_.block_bytes});
  }
}

absl::Status KvSpill::Verify(absl::Span<const KvBlockChecksum> blocks) {
  std::vector<uint8_t> wanted(static_cast<size_t>(shape_.blocks));
  for (const KvBlockChecksum& expected : blocks) {
    if (expected.block < 0 || expected.block >= shape_.blocks) {
      return absl::DataLossError(
          absl::StrCat("spilled block ", expected.block, " lies beyond the ", shape_.blocks, " that the spill has"));
    }
    wanted[expected.block] = 1;
  }
  std::vector<uint64_t> found(blocks.size());
  const absl::Status status = ReadChecksums(wanted, blocks, absl::MakeSpan(found));
  if (!status.ok()) {
    Cancel();
    return status;
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (found[i] != blocks[i].checksum) {
      return absl::DataLossError(absl::StrCat("spilled block ", blocks[i].block, " is not what was written"));
    }
  }
  for (const KvBlockChecksum& block : blocks) checksums_[block.block] = block.checksum;
  return absl::OkStatus();
}

absl::Status KvSpill::ReadChecksums(absl::Span<const uint8_t> wanted, absl::Span<const KvBlockChecksum> blocks,
                                    absl::Span<uint64_t> found) {
  Read(0, wanted);
  for (int layer = 0; layer < shape_.layers; ++layer) {
    if (layer + 1 < shape_.layers) Read(layer + 1, wanted);
    RETURN_IF_ERROR(Await(layer));
    for (size_t i = 0; i < blocks.size(); ++i) {
      found[i] = ChainedChecksum(found[i], {Place(layer, blocks[i].block), shape_.block_bytes});
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice
