// The expert layer: routes rows, demands the union, applies what arrives, sums.
//
// A row's experts are summed in ascending id, whatever the order of arrival.
// With few rows each contribution waits in a buffer of rows x top_k; larger
// sweeps take experts in ascending id and add at once. Both give the same bits.
#ifndef SLUICE_SRC_MODEL_MOE_FFN_H_
#define SLUICE_SRC_MODEL_MOE_FFN_H_

#include <cstdint>

#include "absl/status/status.h"
#include "base/arena.h"
#include "src/model/activation_rows.h"
#include "src/model/linear.h"
#include "src/model/model_config.h"
#include "src/model/resident_vectors.h"
#include "src/model/routing.h"
#include "src/model/trunk.h"
#include "storage/expert_pool.h"

namespace sluice {

class MoeFfn {
 public:
  MoeFfn(Arena* arena, const ModelConfig& config, const WeightLayout& layout, Linear* linear, int64_t max_rows);

  // Chooses the experts of all rows from the float32 rows.
  absl::Status Route(int layer, const ResidentVectors& vectors, Trunk* trunk, const InputRows& in);
  const Routing& routing() const { return routing_; }

  // How the pool should deliver a sweep of `rows` rows.
  static Delivery DeliveryFor(int64_t rows);
  // Takes every expert of the demanded union from the pool and adds
  // weight x expert(row) to out[row] in ascending expert id.
  absl::Status Apply(int layer, ExpertPool* pool, const InputRows& in, float* const* out);

 private:
  void ApplyExpert(const ExpertShape& shape, const Lease& lease, const InputRows& in, bool buffered, float* const* out);
  // Interleaves the matrices of an expert, if it stays in memory, or sees that they are. It was read for this use, and
  // others are waited for: the cores would hardly have more to do.
  void Interleave(const Lease& lease, absl::Span<Matrix* const> matrices);
  void ApplyBlock(const Matrix& gate, const Matrix& up, const Matrix& down, absl::Span<const RoutedRow> rows,
                  const InputRows& in, bool buffered, float* const* out);
  InputRows Gather(absl::Span<const RoutedRow> rows, const InputRows& in);
  void SumBuffered(int64_t rows, float* const* out);
  float* Contribution(const RoutedRow& row) const {
    return contributions_ + (row.row * config_.routing.top_k + row.choice) * config_.embedding;
  }

  const ModelConfig& config_;
  const WeightLayout& layout_;
  Linear* linear_;
  Router router_;
  Routing routing_;
  float* logits_;  // [max_rows][experts]
  float** logit_rows_;
  float* router_scratch_;  // [threads]
  ActivationRows hidden_;  // a block of rows
  float* block_out_;       // [block][embedding]
  float** block_out_rows_;
  const void** gathered_[kActivationFormats];
  float* contributions_;  // [buffered rows][top_k][embedding]
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MOE_FFN_H_
