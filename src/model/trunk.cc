#include "src/model/trunk.h"

#include "base/check.h"
#include "base/status.h"

namespace sluice {

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

Matrix Trunk::matrix(size_t slice) const {
  const MatrixSlice& rows = step().slices[slice];
  return {rows.type, stream_->slice(slice_base_ + slice), rows.n_in, rows.rows};
}

}  // namespace sluice
