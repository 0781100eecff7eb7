// Where each weight lies and in which order a sweep uses it.
//
// Built once from the tensor directory. Three kinds of weights:
//   vectors  norms and biases, a few MB in all: read at start, kept as float32
//   trunk    steps in the order of use, packed into pieces that stream or are
//            pinned (storage/trunk_stream.h); a step's slices are resident
//            together and belong to one operation
//   experts  one record each: gate, up and down slices (storage/expert_pool.h)
// The embedding table is none of them: it is read row by row.
#ifndef SLUICE_SRC_MODEL_WEIGHT_LAYOUT_H_
#define SLUICE_SRC_MODEL_WEIGHT_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "src/model/model_config.h"
#include "storage/model_files.h"
#include "storage/record.h"

namespace sluice {

// One operation of a layer that reads trunk weights.
enum class TrunkOp {
  kQueryLatent,  // {attn_q_a}
  kKvLatent,     // {attn_kv_a_mqa}
  kHeads,        // {query rows, k_b, v_b} or {query rows, kv_b} of a run of heads
  kAttentionOut,
  kRouter,
  kFfnGateUp,  // {gate rows, the same up rows}: dense FFN or shared expert
  kFfnDown,
  kHead,  // output matrix
};

// Rows [row_begin, row_begin + rows) of a matrix; `rows` rows of n_in weights.
struct MatrixSlice {
  TensorType type = TensorType::kF32;
  int64_t n_in = 0;
  int64_t row_begin = 0;
  int64_t rows = 0;
  Slice place;
};

struct TrunkStep {
  TrunkOp op;
  int layer = 0;
  bool last = false;  // of its operation
  std::vector<MatrixSlice> slices;
};

// Consecutive steps read as one record.
struct TrunkPiece {
  size_t step_begin = 0;
  size_t step_end = 0;
  Record record;  // slices of the steps, in order
};

struct ExpertShape {
  TensorType gate, up, down;
};

struct WeightLayout {
  absl::flat_hash_map<std::string, const GgufTensor*> vectors;  // by tensor name
  std::vector<TrunkStep> steps;
  std::vector<TrunkPiece> pieces;
  size_t head_begin = 0;                   // first piece of the head
  std::vector<Record> experts;             // [moe layer * experts + expert]: gate, up, down
  std::vector<ExpertShape> expert_shapes;  // by MoE layer
  const GgufTensor* embedding = nullptr;

  uint64_t trunk_bytes() const;
  uint64_t expert_bytes() const;
};

// Collects a layer's tensors in order of use; checks shapes and types.
class WeightLayoutBuilder {
 public:
  WeightLayoutBuilder(const ModelFiles& files, const ModelConfig& config);

  // Each names a tensor "blk.<layer>.<name>" (or `name` alone for layer < 0),
  // checks its dimensions and reports a missing or misshapen one.
  bool Has(int layer, absl::string_view name) const;
  absl::Status AddVector(int layer, absl::string_view name, int64_t elements);
  absl::Status AddMatrix(TrunkOp op, int layer, absl::string_view name, int64_t n_in, int64_t n_out);
  // Two matrices of one shape whose equal rows are used together.
  absl::Status AddPair(TrunkOp op, int layer, absl::string_view a, absl::string_view b, int64_t n_in, int64_t n_out);
  // One matrix per part; each part's rows divide evenly among `heads`.
  struct HeadPart {
    absl::string_view name;
    int64_t n_in;
    int64_t rows_per_head;
  };
  absl::Status AddHeads(int layer, int heads, absl::Span<const HeadPart> parts);
  absl::Status AddExperts(int layer);

  // Adds embedding, final norm and head and packs the steps into pieces.
  absl::StatusOr<WeightLayout> Finish();

 private:
  absl::StatusOr<const GgufTensor*> Find(int layer, absl::string_view name) const;
  absl::StatusOr<const GgufTensor*> FindMatrix(int layer, absl::string_view name, int64_t n_in, int64_t n_out,
                                               int64_t n_slabs = 1) const;
  static MatrixSlice RowsOf(const GgufTensor& tensor, int64_t row_begin, int64_t rows);

  // Rows of one operation before they are cut into steps.
  struct Operation {
    TrunkOp op;
    int layer;
    std::vector<const GgufTensor*> tensors;
    int64_t units;               // rows, or heads
    int64_t max_units_per_step;  // besides the piece limit
  };

  // The largest expert: the floor stays low when no piece is larger. A single
  // row or head that is goes alone.
  uint64_t PieceLimitBytes() const;
  void AddSteps(const Operation& operation, uint64_t limit_bytes);
  void PackPieces(uint64_t limit_bytes);

  const ModelFiles& files_;
  const ModelConfig& config_;
  std::vector<Operation> operations_;
  WeightLayout layout_;
};

// All of a model's weights, through its family.
struct ModelFamily;
absl::StatusOr<WeightLayout> LayOut(const ModelFamily& family, const ModelFiles& files, const ModelConfig& config);

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_WEIGHT_LAYOUT_H_
