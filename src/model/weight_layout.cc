#include "src/model/weight_layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "src/model/model_family.h"

namespace sluice {
namespace {

// Bounds the temporaries of attention: a row block times this many heads.
constexpr int64_t kMaxHeadsPerStep = 32;
// Attention takes so many heads as one vector and goes through the keys once for
// each step. Steps of nearly as many are filled up to whole vectors, a third above
// the piece limit at most.
constexpr int64_t kHeadVector = 16;
constexpr int64_t kNearlyAVector = 12;
// Piece size of a model without experts.
constexpr uint64_t kDensePieceBytes = 16 << 20;
// Smaller pieces would save nothing, as reads are whole pages, and a step for
// each row of a strange file would take more memory than the file.
constexpr uint64_t kMinPieceBytes = 4096;
// Kernels address sixteen rows of a matrix by offsets of 31 bits.
constexpr uint64_t kMaxRowBytes = uint64_t{1} << 27;

std::string FullName(int layer, absl::string_view name) {
  return layer < 0 ? std::string(name) : absl::StrCat("blk.", layer, ".", name);
}

std::string DimsText(const GgufTensor& tensor) {
  std::string text = absl::StrCat(tensor.dims[0]);
  for (int i = 1; i < std::max(tensor.n_dims, 1); ++i) absl::StrAppend(&text, "x", tensor.dims[i]);
  return text;
}

uint64_t RowsBytes(const GgufTensor& tensor, int64_t rows) { return RowBytes(tensor.type, tensor.dims[0]) * rows; }

int64_t RowsIn(const GgufTensor& tensor) { return static_cast<int64_t>(tensor.dims[1] * tensor.dims[2]); }

uint64_t RecordBytes(const Record& record) {
  uint64_t bytes = 0;
  for (const Slice& slice : record.slices) bytes += slice.bytes;
  return bytes;
}

// Of steps in which `fitting` of `heads` heads have room.
int64_t HeadsPerStep(int64_t fitting, int64_t heads) {
  if (fitting < kNearlyAVector || fitting >= heads) return fitting;
  return (fitting + kHeadVector - kNearlyAVector) / kHeadVector * kHeadVector;
}

uint64_t StepBytes(const TrunkStep& step) {
  uint64_t bytes = 0;
  for (const MatrixSlice& slice : step.slices) bytes += slice.place.bytes;
  return bytes;
}

}  // namespace

uint64_t WeightLayout::trunk_bytes() const {
  uint64_t bytes = 0;
  for (const TrunkPiece& piece : pieces) bytes += RecordBytes(piece.record);
  return bytes;
}

uint64_t WeightLayout::expert_bytes() const {
  uint64_t bytes = 0;
  for (const Record& record : experts) bytes += RecordBytes(record);
  return bytes;
}

WeightLayoutBuilder::WeightLayoutBuilder(const ModelFiles& files, const ModelConfig& config)
    : files_(files), config_(config) {}

bool WeightLayoutBuilder::Has(int layer, absl::string_view name) const {
  return files_.FindTensor(FullName(layer, name)) != nullptr;
}

absl::StatusOr<const GgufTensor*> WeightLayoutBuilder::Find(int layer, absl::string_view name) const {
  const GgufTensor* tensor = files_.FindTensor(FullName(layer, name));
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat("tensor ", FullName(layer, name), " is missing from the model file"));
  }
  if (!InfoOf(tensor->type).is_weight) {
    return absl::UnimplementedError(
        absl::StrCat("tensor ", tensor->name, " has type ", InfoOf(tensor->type).name, ", which is no weight type"));
  }
  return tensor;
}

absl::StatusOr<const GgufTensor*> WeightLayoutBuilder::FindMatrix(int layer, absl::string_view name, int64_t n_in,
                                                                  int64_t n_out, int64_t n_slabs) const {
  ASSIGN_OR_RETURN(const GgufTensor* tensor, Find(layer, name));
  const uint64_t width = static_cast<uint64_t>(n_in), rows = static_cast<uint64_t>(n_out), slabs = n_slabs;
  // Slabs may be folded into the second dimension: the bytes are the same.
  const bool rows_match = (tensor->dims[1] == rows && tensor->dims[2] == slabs) ||
                          (tensor->dims[1] == rows * slabs && tensor->dims[2] == 1);
  if (tensor->dims[0] != width || !rows_match || tensor->dims[3] != 1) {
    return absl::DataLossError(absl::StrCat("tensor ", tensor->name, " has dimensions ", DimsText(*tensor),
                                            ", but the model's keys ask for ", n_in, "x", n_out,
                                            n_slabs > 1 ? absl::StrCat("x", n_slabs) : ""));
  }
  if (RowBytes(tensor->type, width) >= kMaxRowBytes) {
    return absl::UnimplementedError(absl::StrCat("tensor ", tensor->name, " has rows of ",
                                                 RowBytes(tensor->type, width), " bytes; less than ", kMaxRowBytes,
                                                 " can be computed with, and no known model comes near"));
  }
  return tensor;
}

absl::Status WeightLayoutBuilder::AddVector(int layer, absl::string_view name, int64_t elements) {
  ASSIGN_OR_RETURN(const GgufTensor* tensor, FindMatrix(layer, name, elements, 1));
  layout_.vectors[tensor->name] = tensor;
  return absl::OkStatus();
}

absl::Status WeightLayoutBuilder::AddMatrix(TrunkOp op, int layer, absl::string_view name, int64_t n_in,
                                            int64_t n_out) {
  ASSIGN_OR_RETURN(const GgufTensor* tensor, FindMatrix(layer, name, n_in, n_out));
  operations_.push_back({op, layer, {tensor}, n_out, n_out});
  return absl::OkStatus();
}

absl::Status WeightLayoutBuilder::AddPair(TrunkOp op, int layer, absl::string_view a, absl::string_view b, int64_t n_in,
                                          int64_t n_out) {
  ASSIGN_OR_RETURN(const GgufTensor* first, FindMatrix(layer, a, n_in, n_out));
  ASSIGN_OR_RETURN(const GgufTensor* second, FindMatrix(layer, b, n_in, n_out));
  operations_.push_back({op, layer, {first, second}, n_out, n_out});
  return absl::OkStatus();
}

absl::Status WeightLayoutBuilder::AddHeads(int layer, int heads, absl::Span<const HeadPart> parts) {
  Operation operation{TrunkOp::kHeads, layer, {}, heads, kMaxHeadsPerStep};
  for (const HeadPart& part : parts) {
    ASSIGN_OR_RETURN(const GgufTensor* tensor, FindMatrix(layer, part.name, part.n_in, part.rows_per_head, heads));
    operation.tensors.push_back(tensor);
  }
  operations_.push_back(std::move(operation));
  return absl::OkStatus();
}

absl::Status WeightLayoutBuilder::AddExperts(int layer) {
  const int64_t experts = config_.routing.experts, ffn = config_.expert_ffn, embedding = config_.embedding;
  ASSIGN_OR_RETURN(const GgufTensor* gate, FindMatrix(layer, "ffn_gate_exps.weight", embedding, ffn, experts));
  ASSIGN_OR_RETURN(const GgufTensor* up, FindMatrix(layer, "ffn_up_exps.weight", embedding, ffn, experts));
  ASSIGN_OR_RETURN(const GgufTensor* down, FindMatrix(layer, "ffn_down_exps.weight", ffn, embedding, experts));
  for (int64_t expert = 0; expert < experts; ++expert) {
    Record record;
    record.layer = layer;
    record.expert = static_cast<int>(expert);
    record.slices.reserve(3);
    for (const GgufTensor* tensor : {gate, up, down}) {
      const uint64_t bytes = tensor->bytes / experts;
      record.slices.push_back({tensor->file, tensor->offset + expert * bytes, bytes});
    }
    layout_.experts.push_back(std::move(record));
  }
  layout_.expert_shapes.push_back({gate->type, up->type, down->type});
  return absl::OkStatus();
}

MatrixSlice WeightLayoutBuilder::RowsOf(const GgufTensor& tensor, int64_t row_begin, int64_t rows) {
  const uint64_t begin = RowsBytes(tensor, row_begin);
  return {tensor.type,
          static_cast<int64_t>(tensor.dims[0]),
          row_begin,
          rows,
          {tensor.file, tensor.offset + begin, RowsBytes(tensor, rows)}};
}

uint64_t WeightLayoutBuilder::PieceLimitBytes() const {
  if (layout_.experts.empty()) return kDensePieceBytes;
  uint64_t limit_bytes = kMinPieceBytes;
  for (const Record& record : layout_.experts) limit_bytes = std::max(limit_bytes, RecordBytes(record));
  return limit_bytes;
}

void WeightLayoutBuilder::AddSteps(const Operation& operation, uint64_t limit_bytes) {
  const int64_t units = operation.units;
  uint64_t unit_bytes = 0;
  for (const GgufTensor* tensor : operation.tensors) unit_bytes += tensor->bytes / units;
  const int64_t fitting = static_cast<int64_t>(limit_bytes / std::max<uint64_t>(unit_bytes, 1));
  const int64_t wanted = operation.op == TrunkOp::kHeads ? HeadsPerStep(fitting, units) : fitting;
  const int64_t units_per_step = std::clamp<int64_t>(wanted, 1, operation.max_units_per_step);
  for (int64_t begin = 0; begin < units; begin += units_per_step) {
    const int64_t count = std::min(units_per_step, units - begin);
    TrunkStep step{operation.op, operation.layer, begin + count == units, {}};
    for (const GgufTensor* tensor : operation.tensors) {
      const int64_t rows_per_unit = RowsIn(*tensor) / units;
      step.slices.push_back(RowsOf(*tensor, begin * rows_per_unit, count * rows_per_unit));
    }
    layout_.steps.push_back(std::move(step));
  }
}

void WeightLayoutBuilder::PackPieces(uint64_t limit_bytes) {
  uint64_t piece_bytes = 0;
  for (size_t i = 0; i < layout_.steps.size(); ++i) {
    const TrunkStep& step = layout_.steps[i];
    const uint64_t step_bytes = StepBytes(step);
    const bool fits = !layout_.pieces.empty() && layout_.pieces.back().record.layer == step.layer &&
                      piece_bytes + step_bytes <= limit_bytes;
    if (!fits) {
      if (step.op == TrunkOp::kHead && layout_.head_begin == 0) layout_.head_begin = layout_.pieces.size();
      layout_.pieces.push_back({i, i, {{}, step.layer, -1}});
      piece_bytes = 0;
    }
    TrunkPiece& piece = layout_.pieces.back();
    piece.step_end = i + 1;
    for (const MatrixSlice& slice : step.slices) piece.record.slices.push_back(slice.place);
    piece_bytes += step_bytes;
  }
}

absl::StatusOr<WeightLayout> WeightLayoutBuilder::Finish() {
  const int64_t embedding = config_.embedding, vocab = config_.vocab;
  ASSIGN_OR_RETURN(layout_.embedding, FindMatrix(-1, "token_embd.weight", embedding, vocab));
  RETURN_IF_ERROR(AddVector(-1, "output_norm.weight", embedding));
  // A missing output.weight means that the embedding is the head too.
  const char* head = Has(-1, "output.weight") ? "output.weight" : "token_embd.weight";
  ASSIGN_OR_RETURN(const GgufTensor* output, FindMatrix(-1, head, embedding, vocab));
  operations_.push_back({TrunkOp::kHead, config_.layers, {output}, vocab, vocab});
  const uint64_t limit_bytes = PieceLimitBytes();
  for (const Operation& operation : operations_) AddSteps(operation, limit_bytes);
  PackPieces(limit_bytes);
  return std::move(layout_);
}

absl::StatusOr<WeightLayout> LayOut(const ModelFamily& family, const ModelFiles& files, const ModelConfig& config) {
  WeightLayoutBuilder builder(files, config);
  for (int layer = 0; layer < config.layers; ++layer) RETURN_IF_ERROR(family.add_layer(config, layer, &builder));
  return builder.Finish();
}

}  // namespace sluice
