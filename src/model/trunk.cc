#include "src/model/trunk.h"

#include <algorithm>

#include "base/check.h"
#include "base/status.h"

namespace sluice {
namespace {

// The others are read in other ways than by products of quantised rows, too.
bool IsProductAlone(TrunkOp op) { return op != TrunkOp::kHeads && op != TrunkOp::kRouter; }

}  // namespace

void Trunk::InterleavePinned(Linear* linear) {
  linear_ = linear;
  interleaved_.assign(layout_->steps.size(), false);
  for (size_t piece = 0; piece < layout_->pieces.size(); ++piece) {
    size_t slice = 0;
    for (size_t s = layout_->pieces[piece].step_begin; s < layout_->pieces[piece].step_end; ++s) {
      for (const MatrixSlice& rows : layout_->steps[s].slices) {
        uint8_t* const data = stream_->mutable_pinned_slice(piece, slice++);
        if (data == nullptr || !IsProductAlone(layout_->steps[s].op)) continue;
        const Matrix matrix{rows.type, data, rows.n_in, rows.rows};
        if (!linear->GainsByInterleaving(matrix)) continue;
        linear->Interleave(matrix, data);
        interleaved_[s] = true;
      }
    }
  }
}

void Trunk::BeginSweep(bool with_head) {
  next_step_ = 0;
  stream_->BeginSweep(with_head);
}

absl::Status Trunk::Next(TrunkOp op, int layer) {
  SLUICE_CHECK(next_step_ < layout_->steps.size());
  const TrunkStep& next = layout_->steps[next_step_];
  SLUICE_CHECK(next.op == op && next.layer == layer);
  const bool same_piece = next_step_ > 0 && next_step_ < layout_->pieces[stream_->current()].step_end;
  if (same_piece) {
    slice_base_ += step().slices.size();
  } else {
    RETURN_IF_ERROR(stream_->Next());
    SLUICE_CHECK(layout_->pieces[stream_->current()].step_begin == next_step_);
    slice_base_ = 0;
  }
  step_ = next_step_++;
  return absl::OkStatus();
}

void Trunk::Cancel() { stream_->Cancel(); }

Matrix Trunk::PinnedRouter(int layer) const {
  const auto before = [layer](const TrunkStep& step) {
    return step.layer < layer || (step.layer == layer && step.op < TrunkOp::kRouter);
  };
  const auto found = std::partition_point(layout_->steps.begin(), layout_->steps.end(), before);
  if (found == layout_->steps.end() || found->op != TrunkOp::kRouter || !found->last) return {};
  const size_t index = static_cast<size_t>(found - layout_->steps.begin());
  const auto piece = std::partition_point(layout_->pieces.begin(), layout_->pieces.end(),
                                          [index](const TrunkPiece& p) { return p.step_end <= index; });
  size_t slice = 0;
  for (size_t s = piece->step_begin; s < index; ++s) slice += layout_->steps[s].slices.size();
  const MatrixSlice& rows = found->slices[0];
  const uint8_t* data = stream_->pinned_slice(static_cast<size_t>(piece - layout_->pieces.begin()), slice);
  return {rows.type, data, rows.n_in, rows.rows, /*interleaved=*/false};
}

Matrix Trunk::matrix(size_t slice) const {
  const MatrixSlice& rows = step().slices[slice];
  Matrix matrix{rows.type, stream_->slice(slice_base_ + slice), rows.n_in, rows.rows};
  matrix.interleaved = !interleaved_.empty() && interleaved_[step_] && linear_->GainsByInterleaving(matrix);
  return matrix;
}

}  // namespace sluice
