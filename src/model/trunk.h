// The trunk as a sweep walks it: step by step, in the layout's order.
//
// Turns the layout's steps into resident matrices on top of the stream of
// pieces. Asking for another operation than the next one is a bug.
#ifndef SLUICE_SRC_MODEL_TRUNK_H_
#define SLUICE_SRC_MODEL_TRUNK_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "src/model/linear.h"
#include "src/model/weight_layout.h"
#include "storage/trunk_stream.h"

namespace sluice {

class Trunk {
 public:
  Trunk(const WeightLayout* layout, TrunkStream* stream) : layout_(layout), stream_(stream) {}

  // Interleaves what stays in memory and gains by it; once, after it was loaded.
  void InterleavePinned(Linear* linear);

  void BeginSweep(bool with_head);
  // Moves to the next step, which must belong to `op` of `layer`. Its matrices
  // are valid until the next call.
  absl::Status Next(TrunkOp op, int layer);
  // Gives up the sweep after an error.
  void Cancel();

  bool last() const { return step().last; }
  size_t slices() const { return step().slices.size(); }
  Matrix matrix(size_t slice) const;
  // The whole router of `layer` when it stays in memory; no data otherwise.
  Matrix PinnedRouter(int layer) const;
  int64_t row_begin() const { return step().slices[0].row_begin; }

 private:
  const TrunkStep& step() const { return layout_->steps[step_]; }

  const WeightLayout* layout_;
  TrunkStream* stream_;
  size_t step_ = 0;
  size_t next_step_ = 0;
  size_t slice_base_ = 0;          // of the step within its piece
  std::vector<bool> interleaved_;  // by step: its slices that gain by it are
  const Linear* linear_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_TRUNK_H_
