#include "src/engine/planning.h"

#include <algorithm>

#include "src/model/resident_vectors.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
// What a process of this program takes before it holds anything: text and data of
// program and libraries, heap, stacks, rings, and what the kernel keeps for it.
// Measured 7.3 MiB; it is 10 where every page of the libraries is resident.
// docs/benchmarking.md tells how.
constexpr uint64_t kProcessBytes = 10 * kMiB;
// A thread's stack as far as it is touched, 110 KiB (most of it tiles of the
// AVX-512 products), and the kernel's part, 26.
constexpr uint64_t kBytesPerThread = 144 << 10;
// A key and its value, in the list and in the index.
constexpr uint64_t kBytesPerKey = 256;
// A tensor's name, its place in the directory and in the index by name.
constexpr uint64_t kBytesPerTensor = 512;
// Rows of the smallest sweep worth planning for.
constexpr int64_t kSmallestRows = 16;
// More rows than this gain nothing: a sweep of so many touches every expert.
constexpr int64_t kLargestRows = 4096;
constexpr uint64_t kLogitsBytes = 64 * kMiB;

uint64_t ValueBytes(const GgufValue& value) {
  if (const auto* text = std::get_if<std::string>(&value.value)) return kBytesPerKey + text->capacity();
  const GgufArray* array = std::get_if<GgufArray>(&value.value);
  if (array == nullptr) return kBytesPerKey;
  const auto* strings = std::get_if<std::vector<std::string>>(&array->items);
  if (strings == nullptr) return array->size() * sizeof(int64_t);
  uint64_t bytes = kBytesPerKey;
  for (const std::string& text : *strings) bytes += sizeof(std::string) + (text.size() > 15 ? text.size() + 16 : 0);
  return bytes;
}

uint64_t DirectoryBytes(const WeightLayout& layout) {
  uint64_t bytes = layout.experts.size() * (sizeof(Record) + 3 * sizeof(Slice) + 64);
  for (const TrunkStep& step : layout.steps) bytes += sizeof(TrunkStep) + step.slices.size() * sizeof(MatrixSlice) + 32;
  return 2 * bytes;  // the pool keeps its own copy
}

uint64_t ProcessBytes(const PlanFacts& facts) { return kProcessBytes + facts.threads->threads() * kBytesPerThread; }

void AddPieces(const PlanFacts& facts, PlanRequest* request) {
  for (const TrunkPiece& piece : facts.layout->pieces) {
    request->piece_bytes.push_back(SlotBytes(piece.record, facts.alignment));
  }
}

void AddClasses(const PlanFacts& facts, PlanRequest* request) {
  if (facts.layout->experts.empty()) return;
  request->classes = ExpertPool::ClassesOf(facts.layout->experts, facts.alignment);
  request->class_records.assign(request->classes.size(), 0);
  for (const Record& record : facts.layout->experts) {
    ++request->class_records[ExpertPool::ClassFor(request->classes, SlotBytes(record, facts.alignment))];
  }
  request->min_slots = facts.config->routing.top_k + 1;
}

// A start that takes more than the rest ever will raises the floor to itself.
void AddStart(const PlanFacts& facts, PlanRequest* request) {
  const uint64_t start_bytes = ProcessBytes(facts) + facts.caller.peak;
  const uint64_t floor_bytes = FloorBytes(*request);
  if (start_bytes > floor_bytes) request->fixed.push_back({"reading the header", start_bytes - floor_bytes});
}

}  // namespace

std::vector<SequenceShape> HalvedShapes(int most, int fewest) {
  std::vector<SequenceShape> shapes;
  for (int sequences = most; sequences > fewest; sequences = std::max(fewest, sequences / 2)) {
    shapes.push_back({.sequences = sequences});
  }
  shapes.push_back({.sequences = fewest});
  return shapes;
}

uint64_t HeaderBytes(const ModelFiles& files) {
  uint64_t bytes = files.tensors().size() * kBytesPerTensor;
  for (const auto& [key, value] : files.metadata().entries()) bytes += ValueBytes(value);
  return bytes;
}

uint64_t WorkspaceBytes(const PlanFacts& facts, const ForwardLimits& limits) {
  Arena arena;
  ForwardContext context;
  context.config = facts.config;
  context.layout = facts.layout;
  context.kernels = facts.kernels;
  context.threads = facts.threads;
  const Forward counted(&arena, context, limits);
  return arena.used_bytes();
}

PlanRequest MakeRequest(const PlanFacts& facts, const ForwardLimits& limits) {
  PlanRequest request;
  request.fixed.push_back({"program", ProcessBytes(facts)});
  request.fixed.push_back(
      {"keys and tokenizer", HeaderBytes(*facts.files) + DirectoryBytes(*facts.layout) + facts.caller.held});
  request.fixed.push_back({"norms and biases", ResidentVectors::Bytes(*facts.layout)});
  request.fixed.push_back({"kv cache", KvCache::TotalBytes(facts.cache)});
  request.fixed.push_back({"activations", WorkspaceBytes(facts, limits)});
  if (facts.mapped) {
    request.fixed.push_back({"mapped files", facts.files->total_bytes()});
  } else {
    AddPieces(facts, &request);
    AddClasses(facts, &request);
  }
  AddStart(facts, &request);
  return request;
}

namespace {

ForwardLimits LimitsOf(const PlanFacts& facts, const SweepWish& wish, int64_t rows) {
  ForwardLimits limits;
  limits.max_rows = std::max(rows, wish.fewest_rows);
  const int64_t affordable = std::max<int64_t>(kLogitsBytes / (facts.config->vocab * sizeof(float)), wish.fewest_rows);
  limits.max_logits_rows = std::clamp<int64_t>(wish.logits_rows, 1, std::min(limits.max_rows, affordable));
  limits.alignment = facts.alignment;
  return limits;
}

}  // namespace

ForwardLimits SmallestLimits(const PlanFacts& facts, const SweepWish& wish) {
  return LimitsOf(facts, wish, std::min(wish.rows, kSmallestRows));
}

ForwardLimits GrantLimits(const PlanFacts& facts, const SweepWish& wish, uint64_t budget_bytes) {
  const ForwardLimits smallest = SmallestLimits(facts, wish);
  const uint64_t floor_bytes = FloorBytes(MakeRequest(facts, smallest));
  if (budget_bytes <= floor_bytes) return smallest;
  const uint64_t allowed_bytes = WorkspaceBytes(facts, smallest) + (budget_bytes - floor_bytes) / 8;
  int64_t low = smallest.max_rows, high = std::clamp(wish.rows, low, kLargestRows);
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (WorkspaceBytes(facts, LimitsOf(facts, wish, middle)) <= allowed_bytes) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return LimitsOf(facts, wish, low);
}

}  // namespace sluice
