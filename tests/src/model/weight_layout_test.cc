#include "src/model/weight_layout.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "src/model/model_family.h"
#include "tests/src/model/tiny_model.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

struct Laid {
  explicit Laid(const std::string& path) : files(OpenModel(path)) {
    const auto family = FamilyOf(files);
    REQUIRE(family.ok());
    auto read = (*family)->read_config(files);
    REQUIRE_MESSAGE(read.ok(), read.status().ToString());
    config = *std::move(read);
    layout = LayOut(**family, files, config);
  }
  ModelFiles files;
  ModelConfig config;
  absl::StatusOr<WeightLayout> layout;
};

struct Range {
  int file;
  uint64_t begin, end;
  bool operator<(const Range& other) const { return std::tie(file, begin) < std::tie(other.file, other.begin); }
};

void AddSlice(const Slice& slice, std::vector<Range>* ranges) {
  ranges->push_back({slice.file, slice.offset, slice.offset + slice.bytes});
}

// What the layout's parts cover, in file order; the head of a tied model is the embedding.
std::vector<Range> Covered(const WeightLayout& layout, bool tied) {
  std::vector<Range> ranges;
  for (const auto& [name, tensor] : layout.vectors) AddSlice({tensor->file, tensor->offset, tensor->bytes}, &ranges);
  for (const TrunkStep& step : layout.steps) {
    for (const MatrixSlice& slice : step.slices) AddSlice(slice.place, &ranges);
  }
  for (const Record& record : layout.experts) {
    for (const Slice& slice : record.slices) AddSlice(slice, &ranges);
  }
  if (!tied) AddSlice({layout.embedding->file, layout.embedding->offset, layout.embedding->bytes}, &ranges);
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

void CheckCoverage(const ModelFiles& files, const WeightLayout& layout) {
  const std::vector<Range> ranges = Covered(layout, files.FindTensor("output.weight") == nullptr);
  uint64_t covered_bytes = 0, tensor_bytes = 0;
  for (size_t i = 0; i < ranges.size(); ++i) {
    REQUIRE(ranges[i].begin < ranges[i].end);
    covered_bytes += ranges[i].end - ranges[i].begin;
    if (i > 0 && ranges[i - 1].file == ranges[i].file) REQUIRE(ranges[i - 1].end <= ranges[i].begin);
  }
  for (const GgufTensor& tensor : files.tensors()) {
    tensor_bytes += tensor.bytes;
    const Range whole{tensor.file, tensor.offset, tensor.offset + tensor.bytes};
    auto range = std::lower_bound(ranges.begin(), ranges.end(), whole);
    for (uint64_t at = whole.begin; at < whole.end; at = (range++)->end) {
      REQUIRE_MESSAGE((range != ranges.end() && range->file == whole.file && range->begin == at), tensor.name);
    }
  }
  CHECK(covered_bytes == tensor_bytes);
}

void CheckPieces(const WeightLayout& layout, int layers) {
  size_t step = 0;
  for (size_t p = 0; p < layout.pieces.size(); ++p) {
    const TrunkPiece& piece = layout.pieces[p];
    REQUIRE((piece.step_begin == step && piece.step_end > step));
    std::vector<Slice> slices;
    for (; step < piece.step_end; ++step) {
      REQUIRE(layout.steps[step].layer == piece.record.layer);
      for (const MatrixSlice& slice : layout.steps[step].slices) slices.push_back(slice.place);
    }
    REQUIRE(slices.size() == piece.record.slices.size());
    for (size_t i = 0; i < slices.size(); ++i) REQUIRE(slices[i].offset == piece.record.slices[i].offset);
    REQUIRE((p >= layout.head_begin) == (piece.record.layer == layers));
  }
  REQUIRE(step == layout.steps.size());
  REQUIRE((layout.head_begin > 0 && layout.head_begin < layout.pieces.size()));
}

uint64_t PieceLimit(const WeightLayout& layout) {
  uint64_t largest = layout.experts.empty() ? 16 << 20 : 4096;
  for (const Record& record : layout.experts) {
    uint64_t bytes = 0;
    for (const Slice& slice : record.slices) bytes += slice.bytes;
    largest = std::max(largest, bytes);
  }
  return largest;
}

bool IsOneUnit(const TrunkStep& step, const ModelConfig& config) {
  return step.slices[0].rows == (step.op == TrunkOp::kHeads ? config.key_dims : 1);
}

// Sixteen heads are worth a third more than the limit.
bool IsHeadVector(const TrunkStep& step, const ModelConfig& config) {
  return step.op == TrunkOp::kHeads && step.slices[0].rows % (16 * config.key_dims) == 0;
}

void CheckSizes(const WeightLayout& layout, const ModelConfig& config) {
  const uint64_t limit = PieceLimit(layout);
  for (const TrunkStep& step : layout.steps) {
    uint64_t bytes = 0;
    for (const MatrixSlice& slice : step.slices) bytes += slice.place.bytes;
    REQUIRE((bytes <= limit || IsOneUnit(step, config) || (IsHeadVector(step, config) && bytes <= limit / 3 * 4)));
  }
  for (const TrunkPiece& piece : layout.pieces) {
    uint64_t bytes = 0;
    for (const Slice& slice : piece.record.slices) bytes += slice.bytes;
    REQUIRE((bytes <= limit || piece.step_end == piece.step_begin + 1));
  }
}

// Steps of one operation follow each other, begin at row 0 and end with `last`.
void CheckOperations(const WeightLayout& layout) {
  int64_t next_row = 0;
  for (size_t i = 0; i < layout.steps.size(); ++i) {
    const TrunkStep& step = layout.steps[i];
    REQUIRE(step.slices[0].row_begin == next_row);
    for (const MatrixSlice& slice : step.slices) {
      REQUIRE(slice.place.bytes == RowBytes(slice.type, slice.n_in) * slice.rows);
    }
    const bool goes_on =
        i + 1 < layout.steps.size() && layout.steps[i + 1].op == step.op && layout.steps[i + 1].layer == step.layer;
    REQUIRE(step.last == !goes_on);
    next_row = step.last ? 0 : next_row + step.slices[0].rows;
  }
}

void CheckExperts(const WeightLayout& layout, const ModelConfig& config) {
  REQUIRE(layout.experts.size() == static_cast<size_t>(config.moe_layers()) * config.routing.experts);
  REQUIRE(layout.expert_shapes.size() == static_cast<size_t>(config.moe_layers()));
  for (size_t i = 0; i < layout.experts.size(); ++i) {
    const Record& record = layout.experts[i];
    REQUIRE(record.layer == config.dense_layers + static_cast<int>(i) / config.routing.experts);
    REQUIRE(record.expert == static_cast<int>(i) % config.routing.experts);
    const ExpertShape& shape = layout.expert_shapes[i / config.routing.experts];
    REQUIRE(record.slices.size() == 3);
    CHECK(record.slices[0].bytes == RowBytes(shape.gate, config.embedding) * config.expert_ffn);
    CHECK(record.slices[1].bytes == RowBytes(shape.up, config.embedding) * config.expert_ffn);
    CHECK(record.slices[2].bytes == RowBytes(shape.down, config.expert_ffn) * config.embedding);
  }
}

void CheckLayout(const std::string& path) {
  const Laid laid(path);
  REQUIRE_MESSAGE(laid.layout.ok(), path << ": " << laid.layout.status().ToString());
  const WeightLayout& layout = *laid.layout;
  CheckCoverage(laid.files, layout);
  CheckPieces(layout, laid.config.layers);
  CheckSizes(layout, laid.config);
  CheckOperations(layout);
  CheckExperts(layout, laid.config);
  CHECK(layout.trunk_bytes() > 0);
}

TEST_CASE("golden models: each byte of each tensor is covered exactly once, in pieces hardly larger than an expert") {
  SKIP_WITHOUT_SHARED("golden");
  for (const char* path : {"deepseek2-mla/model.gguf", "deepseek2-legacy/model.gguf", "deepseek2-lite/model.gguf",
                           "deepseek2-grouped/model.gguf", "deepseek2-mla-q8_0/model.gguf", "deepseek2-mla-split",
                           "deepseek2-mla-quant/model-Q4_K_M.gguf", "deepseek2-mla-quant/model-IQ4_XS.gguf",
                           "deepseek2-mla-quant/model-Q2_K.gguf", "deepseek2-mla-quant/model-IQ2_XXS.gguf",
                           "deepseek2-mla-quant/model-IQ1_S.gguf", "deepseek2-legacy-quant/model-Q4_K_M.gguf"}) {
    CheckLayout(SharedPath(std::string("golden/") + path));
  }
}

TEST_CASE("small models of every dialect are covered exactly once") {
  TinyShape shape;
  CheckLayout(TinyModel(shape).path());
  shape.split_kv_b = false;
  shape.query_lora = 0;
  shape.tied_head = true;
  shape.shared = 0;
  CheckLayout(TinyModel(shape).path());
  shape.dense_layers = shape.layers;
  CheckLayout(TinyModel(shape).path());
  CheckLayout(TinyModel(TinyQ8Shape()).path());
}

TEST_CASE("experts smaller than a page do not cut the trunk into rows") {
  TinyShape shape;
  shape.expert_ffn = 1;
  shape.embedding = 2;
  shape.vocab = 5000;
  const Laid laid(TinyModel(shape).path());
  REQUIRE(laid.layout.ok());
  CHECK(PieceLimit(*laid.layout) == 4096);
  CHECK(laid.layout->steps.size() < 100);
}

// Of the first layer's steps of heads.
std::vector<int64_t> HeadsOfSteps(const TinyShape& shape) {
  const TinyModel model(shape);
  CheckLayout(model.path());
  const Laid laid(model.path());
  std::vector<int64_t> heads;
  for (const TrunkStep& step : laid.layout->steps) {
    if (step.op == TrunkOp::kHeads && step.layer == 0) heads.push_back(step.slices[0].rows / laid.config.key_dims);
  }
  return heads;
}

TEST_CASE("steps of nearly sixteen heads are filled up, shorter ones are not") {
  TinyShape shape;
  shape.heads = 40;
  shape.expert_ffn = 95;  // as large as 15.8 heads
  CHECK(HeadsOfSteps(shape) == std::vector<int64_t>{16, 16, 8});
  shape.expert_ffn = 125;  // 20.8
  CHECK(HeadsOfSteps(shape) == std::vector<int64_t>{16, 16, 8});
  shape.heads = 20;
  CHECK(HeadsOfSteps(shape) == std::vector<int64_t>{20});
  shape.expert_ffn = 70;  // 11.7
  CHECK(HeadsOfSteps(shape) == std::vector<int64_t>{11, 9});
}

// A two-layer model of tensors without meaning, one of them changed.
struct Hostile {
  struct Info {
    std::string name;
    std::vector<uint64_t> dims;
    uint32_t type = 0;
  };
  std::vector<Info> tensors;

  Hostile() {
    Add("token_embd.weight", {32, 50});
    Add("output.weight", {32, 50});
    Add("output_norm.weight", {32});
    for (const std::string prefix : {"blk.0.", "blk.1."}) AddLayer(prefix, prefix == "blk.1.");
  }
  void Add(const std::string& name, const std::vector<uint64_t>& dims) { tensors.push_back({name, dims}); }
  void AddLayer(const std::string& prefix, bool is_moe) {
    Add(prefix + "attn_norm.weight", {32});
    Add(prefix + "ffn_norm.weight", {32});
    Add(prefix + "attn_q_a.weight", {32, 16});
    Add(prefix + "attn_q_a_norm.weight", {16});
    Add(prefix + "attn_q_b.weight", {16, 60});
    Add(prefix + "attn_kv_a_mqa.weight", {32, 28});
    Add(prefix + "attn_kv_a_norm.weight", {24});
    Add(prefix + "attn_k_b.weight", {8, 24, 5});
    Add(prefix + "attn_v_b.weight", {24, 8, 5});
    Add(prefix + "attn_output.weight", {40, 32});
    const std::string kind = is_moe ? "_exps.weight" : ".weight";
    const std::vector<uint64_t> wide = is_moe ? std::vector<uint64_t>{32, 16, 9} : std::vector<uint64_t>{32, 40};
    Add(prefix + "ffn_gate" + kind, wide);
    Add(prefix + "ffn_up" + kind, wide);
    Add(prefix + "ffn_down" + kind, is_moe ? std::vector<uint64_t>{16, 32, 9} : std::vector<uint64_t>{40, 32});
    if (!is_moe) return;
    Add(prefix + "ffn_gate_inp.weight", {32, 9});
    Add(prefix + "exp_probs_b.bias", {9});
    Add(prefix + "ffn_gate_shexp.weight", {32, 16});
    Add(prefix + "ffn_up_shexp.weight", {32, 16});
    Add(prefix + "ffn_down_shexp.weight", {16, 32});
  }

  absl::Status LayOutStatus() const {
    GgufBuilder builder;
    builder.Text("general.architecture", "deepseek2");
    for (const Info& info : tensors) {
      uint64_t elements = 1;
      for (uint64_t dim : info.dims) elements *= dim;
      const TensorTypeInfo& type = *FindTensorType(info.type);
      builder.Tensor(info.name, info.dims, info.type, elements / type.block_elements * type.block_bytes);
    }
    const ScratchFiles folder({1});
    builder.Write(folder.paths()[0]);
    const ModelFiles files = OpenModel(folder.paths()[0]);
    return LayOut(*FindModelFamily("deepseek2"), files, Config()).status();
  }

  static ModelConfig Config() {
    ModelConfig config;
    config.layers = 2;
    config.dense_layers = 1;
    config.embedding = 32;
    config.vocab = 50;
    config.heads = 5;
    config.query_lora_rank = 16;
    config.kv_lora_rank = 24;
    config.rope_dims = 4;
    config.key_dims = 12;
    config.value_dims = 8;
    config.split_kv_b = true;
    config.dense_ffn = 40;
    config.expert_ffn = config.shared_ffn = 16;
    config.routing.experts = 9;
    config.routing.top_k = 3;
    return config;
  }
};

void CheckRefused(const Hostile& hostile, const std::string& name, const std::string& what) {
  const absl::Status status = hostile.LayOutStatus();
  REQUIRE_MESSAGE(!status.ok(), name << " " << what);
  CHECK_MESSAGE(status.message().find(name) != absl::string_view::npos, name << " " << what << ": " << status);
}

TEST_CASE("a tensor that is missing or misshapen is named") {
  const Hostile sound;
  REQUIRE_MESSAGE(sound.LayOutStatus().ok(), sound.LayOutStatus().ToString());
  for (size_t i = 0; i < sound.tensors.size(); ++i) {
    const std::string name = sound.tensors[i].name;
    // What is optional: a head, the selection bias.
    if (name != "output.weight" && name != "blk.1.exp_probs_b.bias") {
      Hostile missing;
      missing.tensors.erase(missing.tensors.begin() + static_cast<std::ptrdiff_t>(i));
      CheckRefused(missing, name, "missing");
    }
    for (size_t d = 0; d < sound.tensors[i].dims.size(); ++d) {
      for (int change : {-1, 1}) {
        Hostile misshapen;
        misshapen.tensors[i].dims[d] += change;
        CheckRefused(misshapen, name, "misshapen");
      }
    }
    Hostile integers;
    integers.tensors[i].type = static_cast<uint32_t>(TensorType::kI32);
    CheckRefused(integers, name, "of integers");
    Hostile deep;
    while (deep.tensors[i].dims.size() < 3) deep.tensors[i].dims.push_back(1);
    deep.tensors[i].dims.push_back(2);
    CheckRefused(deep, name, "of four dimensions");
  }
}

TEST_CASE("turned matrices are refused though their bytes would do") {
  for (const char* name : {"blk.0.attn_q_a.weight", "blk.1.ffn_gate_exps.weight", "blk.0.attn_k_b.weight"}) {
    Hostile turned;
    for (Hostile::Info& info : turned.tensors) {
      if (info.name == name) std::swap(info.dims[0], info.dims[1]);
    }
    CheckRefused(turned, name, "turned");
  }
}

TEST_CASE("slabs and rows in the other order are refused") {
  for (const char* name : {"blk.1.ffn_down_exps.weight", "blk.0.attn_k_b.weight", "blk.1.attn_v_b.weight"}) {
    Hostile turned;
    for (Hostile::Info& info : turned.tensors) {
      if (info.name == name) std::swap(info.dims[1], info.dims[2]);
    }
    CheckRefused(turned, name, "turned");
  }
}

TEST_CASE("a row of 128 MiB is refused: kernels could not reach over sixteen of them") {
  constexpr uint64_t kRowBytes = uint64_t{1} << 27;
  GgufBuilder builder;
  builder.Text("general.architecture", "deepseek2");
  builder.Info("token_embd.weight", {kRowBytes / 4, 1}, static_cast<uint32_t>(TensorType::kF32), 0);
  const ScratchFiles folder({1});
  const std::string path = folder.paths()[0];
  builder.Write(path);
  // The row is a hole.
  std::filesystem::resize_file(path, std::filesystem::file_size(path) + builder.alignment + kRowBytes);
  const ModelFiles files = OpenModel(path);
  ModelConfig config = Hostile::Config();
  config.embedding = kRowBytes / 4;
  config.vocab = 1;
  config.layers = 0;
  const absl::Status status = LayOut(*FindModelFamily("deepseek2"), files, config).status();
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  CHECK_MESSAGE(status.message().find("rows of 134217728 bytes") != absl::string_view::npos, status);
}

TEST_CASE("slabs may be folded into the rows") {
  Hostile folded;
  for (Hostile::Info& info : folded.tensors) {
    if (info.dims.size() == 3) info.dims = {info.dims[0], info.dims[1] * info.dims[2]};
  }
  CHECK(folded.LayOutStatus().ok());
}

}  // namespace
}  // namespace sluice
