#include "src/synth/synth_writer.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "src/synth/tensor_fill.h"

namespace sluice {
namespace {

// Made at once by all threads and then written while the drive is busy with
// the one before.
constexpr uint64_t kUnitsPerBatch = 16;
// What a file system takes for itself besides the bytes.
constexpr uint64_t kRoomForTables = 64 << 20;

uint64_t PaddedBytes(const GgufTensor& tensor) { return AlignUp(tensor.bytes, SynthModel::kAlignment); }

}  // namespace

absl::StatusOr<SynthWriter> SynthWriter::Open(SynthModel model, const std::string& path) {
  static_assert(SynthModel::kAlignment % FileWriter::kCloneAlignment == 0);
  SynthWriter writer(std::move(model));
  writer.layout_ = LayOutGguf(writer.model_.metadata, SynthModel::kAlignment, &writer.model_.tensors);
  writer.firsts_ = writer.FindFirsts();
  ASSIGN_OR_RETURN(writer.file_, FileWriter::Create(path));
  ASSIGN_OR_RETURN(writer.cost_.shares_extents, writer.file_.CanClone());
  writer.cost_.file_bytes = writer.layout_.file_bytes;
  writer.cost_.written_bytes = writer.layout_.header.size();
  for (size_t i = 0; i < writer.firsts_.size(); ++i) {
    const bool shared = writer.cost_.shares_extents && writer.firsts_[i] != i;
    if (!shared) writer.cost_.written_bytes += PaddedBytes(writer.model_.tensors[i]);
  }
  RETURN_IF_ERROR(writer.CheckRoom());
  return writer;
}

absl::Status SynthWriter::CheckRoom() const {
  ASSIGN_OR_RETURN(const uint64_t free_bytes, file_.FreeBytes());
  if (cost_.written_bytes + kRoomForTables <= free_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the file takes %.1f GB of disk and %.1f GB are free where %s lies%s; give another -o or fewer --layers",
      static_cast<double>(cost_.written_bytes) / 1e9, static_cast<double>(free_bytes) / 1e9, file_.partial_path(),
      cost_.shares_extents ? "" : ", on a file system without reflinks (XFS and btrfs have them)"));
}

std::vector<size_t> SynthWriter::FindFirsts() const {
  absl::flat_hash_map<std::string, size_t> first_of;
  std::vector<size_t> firsts;
  for (size_t i = 0; i < model_.fills.size(); ++i) {
    firsts.push_back(first_of.try_emplace(model_.fills[i].stream, i).first->second);
  }
  return firsts;
}

absl::Status SynthWriter::Write(ThreadPool* threads, const Hooks& hooks) {
  RETURN_IF_ERROR(file_.Resize(layout_.file_bytes));
  RETURN_IF_ERROR(file_.Write(0, layout_.header));
  done_bytes_ = layout_.header.size();
  for (size_t i = 0; i < model_.tensors.size(); ++i) {
    if (cost_.shares_extents && firsts_[i] != i) {
      const GgufTensor& first = model_.tensors[firsts_[i]];
      RETURN_IF_ERROR(file_.Clone(first.offset, model_.tensors[i].offset, PaddedBytes(first)));
    } else {
      RETURN_IF_ERROR(WriteTensor(i, threads, hooks));
    }
  }
  return file_.Commit();
}

absl::Status SynthWriter::WriteTensor(size_t index, ThreadPool* threads, const Hooks& hooks) {
  const GgufTensor& tensor = model_.tensors[index];
  const TensorFill fill = FillOf(model_, index);
  const uint64_t batch_bytes = kUnitsPerBatch * fill.unit_bytes;
  for (uint64_t begin = 0; begin < tensor.bytes; begin += batch_bytes) {
    if (hooks.stop != nullptr && hooks.stop->load(std::memory_order_relaxed))
      return absl::CancelledError("interrupted");
    const uint64_t bytes = std::min(batch_bytes, tensor.bytes - begin);
    batch_.resize(bytes);
    const uint64_t units = CeilDiv(bytes, fill.unit_bytes);
    threads->ParallelFor(static_cast<int64_t>(units), [&](int64_t unit, int) {
      const uint64_t at = static_cast<uint64_t>(unit) * fill.unit_bytes;
      auto* const first = reinterpret_cast<uint8_t*>(batch_.data()) + at;
      fill.fill(begin / fill.unit_bytes + static_cast<uint64_t>(unit), {first, std::min(fill.unit_bytes, bytes - at)});
    });
    RETURN_IF_ERROR(file_.Write(tensor.offset + begin, batch_));
    hooks.progress(done_bytes_ + begin + bytes, cost_.written_bytes);
  }
  done_bytes_ += PaddedBytes(tensor);
  return absl::OkStatus();
}

}  // namespace sluice
