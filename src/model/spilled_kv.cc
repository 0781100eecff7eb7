#include "src/model/spilled_kv.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/status.h"

namespace sluice {

uint64_t SpilledKv::MemoryBytes(const Shape& shape) {
  const uint64_t sequences = static_cast<uint64_t>(shape.sequences), blocks = static_cast<uint64_t>(shape.spill.blocks);
  const uint64_t tail_bytes = SaturatingAdd(shape.spill.block_bytes, sizeof(int64_t));
  const uint64_t tails = SaturatingMul(SaturatingMul(tail_bytes, sequences), static_cast<uint64_t>(shape.spill.layers));
  const uint64_t by_sequence = SaturatingMul(sequences, sizeof(int64_t) + sizeof(Part));
  const uint64_t by_block = SaturatingMul(blocks, sizeof(int32_t) + sizeof(uint8_t));
  return SaturatingAdd(SaturatingAdd(KvSpill::MemoryBytes(shape.spill), tails), SaturatingAdd(by_sequence, by_block));
}

uint64_t SpilledKv::memory_bytes() const {
  return spill_->memory_bytes() + tails_.size_bytes() + tail_holds_.capacity() * sizeof(int64_t) +
         lengths_.capacity() * sizeof(int64_t) + parts_.capacity() * sizeof(Part) +
         fresh_blocks_.capacity() * sizeof(int32_t) + wanted_.capacity();
}

absl::StatusOr<std::unique_ptr<SpilledKv>> SpilledKv::Create(const Shape& shape, KvSpill::Source source) {
  std::unique_ptr<SpilledKv> kv(new SpilledKv(shape));
  ASSIGN_OR_RETURN(kv->spill_, KvSpill::Create(shape.spill, std::move(source)));
  const size_t sequences = static_cast<size_t>(shape.sequences);
  const size_t tails = sequences * static_cast<size_t>(shape.spill.layers);
  ASSIGN_OR_RETURN(kv->tails_, AlignedBuffer::Create(tails * shape.spill.block_bytes));
  kv->tail_holds_ = std::vector<int64_t>(tails, kNone);
  kv->lengths_ = std::vector<int64_t>(sequences);
  kv->parts_.reserve(sequences);
  kv->fresh_blocks_.reserve(static_cast<size_t>(shape.spill.blocks));
  kv->wanted_ = std::vector<uint8_t>(static_cast<size_t>(shape.spill.blocks));
  return kv;
}

void SpilledKv::Begin(int sequence, int64_t positions) {
  lengths_[sequence] = positions;
  for (int layer = 0; layer < shape_.spill.layers; ++layer) tail_holds_[TailIndex(layer, sequence)] = kNone;
}

void SpilledKv::BeginSweep(const Sweep& sweep, KvBlocks* blocks) {
  SLUICE_CHECK(!sweeping_);
  sweeping_ = true;
  CollectParts(sweep);
  for (const Part& part : parts_) Unseal(part, blocks);
  CollectWrites(*blocks);
  for (int layer = 0; layer < std::min(2, shape_.spill.layers); ++layer) ReadLayer(layer, *blocks);
}

void SpilledKv::CollectParts(const Sweep& sweep) {
  parts_.clear();
  for (const SequenceRun& run : sweep.runs) {
    const int64_t begin = sweep.rows[run.begin].position, end = begin + run.end - run.begin;
    if (!parts_.empty() && parts_.back().sequence == run.sequence) {
      parts_.back().end = end;
      continue;
    }
    // Rows continue what is held, or go back behind it; also, a sequence is in one place of a sweep.
    SLUICE_CHECK(begin <= lengths_[run.sequence] && parts_.size() < parts_.capacity());
    lengths_[run.sequence] = begin;
    parts_.push_back({run.sequence, begin, end});
  }
}

// A sequence that goes back writes blocks that are on the drive once more.
void SpilledKv::Unseal(const Part& part, KvBlocks* blocks) {
  const absl::Span<const int32_t> held = blocks->of(part.sequence);
  for (size_t i = static_cast<size_t>(part.begin / shape_.block_rows); i < held.size() && blocks->sealed(held[i]);
       ++i) {
    SLUICE_CHECK(blocks->holders(held[i]) == 1);
    blocks->set_sealed(held[i], false);
  }
}

void SpilledKv::CollectWrites(const KvBlocks& blocks) {
  fresh_blocks_.clear();
  for (const Part& part : parts_) {
    for (int64_t i = part.begin / shape_.block_rows; (i + 1) * shape_.block_rows <= part.end; ++i) {
      fresh_blocks_.push_back(blocks.at(part.sequence, i));
    }
  }
  std::sort(fresh_blocks_.begin(), fresh_blocks_.end());
}

void SpilledKv::ReadLayer(int layer, const KvBlocks& blocks) {
  std::fill(wanted_.begin(), wanted_.end(), uint8_t{0});
  for (const Part& part : parts_) {
    for (int64_t i = 0; i * shape_.block_rows < part.begin; ++i) {
      if (OnDrive(layer, part, i, blocks)) wanted_[blocks.at(part.sequence, i)] = 1;
    }
  }
  spill_->Read(layer, wanted_);
}

// Whether the rows of the sequence's block before the sweep are on the drive: not
// those in its tail, nor those of a block that its owner fills in this very sweep.
bool SpilledKv::OnDrive(int layer, const Part& part, int64_t index, const KvBlocks& blocks) const {
  if (tail_holds_[TailIndex(layer, part.sequence)] == index) return false;
  const int32_t block = blocks.at(part.sequence, index);
  if (blocks.sealed(block) || blocks.owner(block) == part.sequence) return true;
  SLUICE_CHECK(std::binary_search(fresh_blocks_.begin(), fresh_blocks_.end(), block));
  return false;
}

absl::Status SpilledKv::BeginLayer(int layer, const KvBlocks& blocks) {
  RETURN_IF_ERROR(spill_->Await(layer));
  for (const Part& part : parts_) {
    const int64_t index = part.begin / shape_.block_rows, rows = part.begin % shape_.block_rows;
    if (rows == 0 || tail_holds_[TailIndex(layer, part.sequence)] != index) continue;
    std::memcpy(Place(layer, blocks.at(part.sequence, index)), Tail(layer, part.sequence), rows * row_bytes());
  }
  return absl::OkStatus();
}

absl::Status SpilledKv::EndLayer(int layer, const KvBlocks& blocks) {
  RETURN_IF_ERROR(spill_->Write(layer, fresh_blocks_));
  for (const Part& part : parts_) {
    const int64_t index = part.end / shape_.block_rows, rows = part.end % shape_.block_rows;
    tail_holds_[TailIndex(layer, part.sequence)] = rows == 0 ? kNone : index;
    if (rows == 0) continue;
    std::memcpy(Tail(layer, part.sequence), Place(layer, blocks.at(part.sequence, index)), rows * row_bytes());
  }
  if (layer + 2 < shape_.spill.layers) ReadLayer(layer + 2, blocks);
  return absl::OkStatus();
}

void SpilledKv::EndSweep(KvBlocks* blocks) {
  for (const Part& part : parts_) lengths_[part.sequence] = part.end;
  for (const int32_t block : fresh_blocks_) blocks->set_sealed(block, true);
  sweeping_ = false;
}

void SpilledKv::Cancel() {
  spill_->Cancel();
  sweeping_ = false;
}

}  // namespace sluice
