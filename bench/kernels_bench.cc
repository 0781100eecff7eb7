// Speed of the products, against what memory and the integer units can do.
//
//   one_row/SET/TYPE/THREADS     bytes/s of weights, from a matrix far larger than any cache, as it lies in
//                                files; of_read: as a fraction of limit/read with as many threads
//   one_row_interleaved/...      the same of weights that stay in memory (compute/interleave.h)
//   rows/SET/TYPE/ROWS/THREADS   operations/s (two per multiply-accumulate) on an expert-sized
//                                matrix; of_int8: as a fraction of limit/int8 with as many threads
//   limit/read/THREADS           GB/s of a loop that only loads
//   limit/int8/THREADS           operations/s of a loop of byte dot products in registers
//   quantize/SET/FORMAT          elements/s of one thread
//
// Fractions are taken against a limit measured in turn with the product, so that
// what else the machine does strikes both.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "bench/machine_limits.h"
#include "compute/kernel_set.h"

namespace sluice {
namespace {

constexpr size_t kMatrixBytes = size_t{1} << 30;
constexpr int64_t kInputs = 7168;
constexpr int64_t kExpertOutputs = 2048;
constexpr int64_t kOutputsPerChunk = 128;

// Memory full of bytes with bit 5 set and bit 6 clear: as units of any type these
// are numbers of ordinary size, so no time goes into subnormals.
class Weights {
 public:
  Weights() {
    auto buffer = AlignedBuffer::Create(kMatrixBytes);
    SLUICE_CHECK(buffer.ok());
    buffer_ = std::move(*buffer);
    uint64_t state = 1;
    for (size_t i = 0; i < kMatrixBytes; i += 8) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const uint64_t bytes = ((state ^ state >> 29) & 0xbfbfbfbfbfbfbfbfu) | 0x2020202020202020u;
      std::memcpy(buffer_.data() + i, &bytes, 8);
    }
  }
  const uint8_t* data() const { return buffer_.data(); }

 private:
  AlignedBuffer buffer_;
};

const Weights& SharedWeights() {
  static const Weights weights;
  return weights;
}

// A number as activations are distributed, at least in the middle: the sum of four
// uniform ones. Some kernels are faster where a block has few large values.
float BellShaped(int64_t index) {
  uint64_t bits = static_cast<uint64_t>(index + 1) * 0x9e3779b97f4a7c15u;
  bits = (bits ^ bits >> 31) * 0xbf58476d1ce4e5b9u;
  bits ^= bits >> 29;
  float sum = 0.0f;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>(bits >> (16 * i) & 0xffff) - 32767.5f;
  return sum / 65536.0f;
}

// Rows of activations in a kernel's format, and where the outputs go.
class Rows {
 public:
  Rows(const KernelSet& set, ActivationFormat format, int64_t n_rows, int64_t n_out) {
    std::vector<float> x(kInputs);
    const size_t row_bytes = ActivationRowBytes(format, kInputs);
    auto buffer = AlignedBuffer::Create(row_bytes * static_cast<size_t>(n_rows));
    SLUICE_CHECK(buffer.ok());
    buffer_ = std::move(*buffer);
    outputs_.resize(static_cast<size_t>(n_rows * n_out));
    for (int64_t r = 0; r < n_rows; ++r) {
      for (int64_t i = 0; i < kInputs; ++i) x[i] = BellShaped(r * kInputs + i);
      uint8_t* row = buffer_.data() + row_bytes * static_cast<size_t>(r);
      set.quantize[static_cast<int>(format)](x.data(), kInputs, row);
      activations_.push_back(row);
      output_rows_.push_back(outputs_.data() + r * n_out);
    }
  }
  // The product's first outputs, shared out.
  void RunInChunks(MatMulFn matmul, TensorType type, int64_t chunks, ThreadPool* pool) const {
    pool->ParallelFor(chunks,
                      [&](int64_t chunk, int) { Run(matmul, type, chunk * kOutputsPerChunk, kOutputsPerChunk); });
  }

 private:
  // The product's outputs from `first` on.
  void Run(MatMulFn matmul, TensorType type, int64_t first, int64_t n_out) const {
    std::vector<float*> outputs = output_rows_;
    for (float*& row : outputs) row += first;
    MatMulArgs args = {};
    args.type = type;
    args.weights = SharedWeights().data() + static_cast<uint64_t>(first) * RowBytes(type, kInputs);
    args.n_in = kInputs;
    args.n_out = n_out;
    args.activations = activations_.data();
    args.outputs = outputs.data();
    args.n_rows = static_cast<int64_t>(activations_.size());
    matmul(args);
  }

  AlignedBuffer buffer_;
  std::vector<float> outputs_;
  std::vector<const void*> activations_;
  std::vector<float*> output_rows_;
};

void SetRate(benchmark::State& state, const char* name, double per_iteration) {
  state.counters[name] = benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate);
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr int64_t kInt8Steps = 1 << 18;

// Of the best instruction set here; null where there is none to measure with.
const MachineLimits* Limits() {
#ifdef SLUICE_HAVE_AVX512
  static const MachineLimits avx512 = Avx512Limits();
  if (FindKernelSet("avx512") != nullptr) return &avx512;
#endif
#ifdef SLUICE_HAVE_AVX2
  static const MachineLimits avx2 = Avx2Limits();
  if (FindKernelSet("avx2") != nullptr) return &avx2;
#endif
  return nullptr;
}

double Int8OperationsPerRun() { return 2.0 * static_cast<double>(Limits()->int8_macs_per_step * kInt8Steps); }

void ReadMatrix(ThreadPool* pool) {
  pool->ParallelFor(kMatrixBytes / kPieceBytes, [&](int64_t piece, int) {
    const uint8_t* data = SharedWeights().data() + static_cast<size_t>(piece) * kPieceBytes;
    benchmark::DoNotOptimize(Limits()->read_all(data, kPieceBytes));
  });
}

// Runs a product and its limit in turn and sets the counters.
class InTurn {
 public:
  InTurn(benchmark::State* state, const char* fraction) : state_(*state), fraction_(fraction) {}
  // `limit` does limit_work, of the unit of `work`, each time.
  template <class Product, class Limit>
  void Run(double work, Product product, double limit_work, Limit limit) {
    double seconds = 0, limit_seconds = 0;
    for (auto _ : state_) {
      auto start = std::chrono::steady_clock::now();
      product();
      const double taken = SecondsSince(start);
      state_.SetIterationTime(taken);
      seconds += taken;
      start = std::chrono::steady_clock::now();
      if (limited_) limit();
      limit_seconds += SecondsSince(start);
    }
    state_.counters["rate"] = benchmark::Counter(work, benchmark::Counter::kIsIterationInvariantRate);
    if (limited_) state_.counters[fraction_] = work / seconds * limit_seconds / limit_work;
  }

 private:
  benchmark::State& state_;
  const char* fraction_;
  const bool limited_ = Limits() != nullptr;
};

// Any bytes are weights, interleaved or not.
void OneRow(benchmark::State& state, const KernelSet* set, TensorType type, int threads, MatMulFn matmul) {
  const int64_t row_bytes = static_cast<int64_t>(RowBytes(type, kInputs));
  const int64_t chunks = static_cast<int64_t>(kMatrixBytes) / row_bytes / kOutputsPerChunk;
  const Rows rows(*set, set->For(type).format, 1, chunks * kOutputsPerChunk);
  ThreadPool pool(threads);
  const auto product = [&] { rows.RunInChunks(matmul, type, chunks, &pool); };
  const double bytes = static_cast<double>(chunks * kOutputsPerChunk * row_bytes);
  InTurn(&state, "of_read").Run(bytes, product, static_cast<double>(kMatrixBytes), [&] { ReadMatrix(&pool); });
}

void RunInt8Loops(ThreadPool* pool) {
  pool->ParallelFor(pool->threads(), [](int64_t, int) { benchmark::DoNotOptimize(Limits()->int8_peak(kInt8Steps)); });
}

void ManyRows(benchmark::State& state, const KernelSet* set, TensorType type, int64_t n_rows, int threads) {
  const Rows rows(*set, set->For(type).format, n_rows, kExpertOutputs);
  ThreadPool pool(threads);
  const auto product = [&] { rows.RunInChunks(set->For(type).matmul, type, kExpertOutputs / kOutputsPerChunk, &pool); };
  const double operations = 2.0 * kInputs * kExpertOutputs * static_cast<double>(n_rows);
  const double limit_operations = Limits() == nullptr ? 0 : Int8OperationsPerRun() * threads;
  InTurn(&state, "of_int8").Run(operations, product, limit_operations, [&] { RunInt8Loops(&pool); });
}

void Quantize(benchmark::State& state, const KernelSet* set, ActivationFormat format) {
  std::vector<float> x(kInputs, 0.5f);
  auto out = AlignedBuffer::Create(ActivationRowBytes(format, kInputs));
  SLUICE_CHECK(out.ok());
  for (auto _ : state) {
    set->quantize[static_cast<int>(format)](x.data(), kInputs, out->data());
    benchmark::ClobberMemory();
  }
  SetRate(state, "elements/s", static_cast<double>(kInputs));
}

void ReadLimit(benchmark::State& state, int threads) {
  ThreadPool pool(threads);
  for (auto _ : state) ReadMatrix(&pool);
  SetRate(state, "bytes/s", static_cast<double>(kMatrixBytes));
}

void Int8Limit(benchmark::State& state, int threads) {
  ThreadPool pool(threads);
  for (auto _ : state) RunInt8Loops(&pool);
  SetRate(state, "ops/s", Int8OperationsPerRun() * threads);
}

template <class... Args>
void Register(const std::string& name, Args... args) {
  benchmark::RegisterBenchmark(name.c_str(), args...)->UseRealTime()->Unit(benchmark::kMillisecond);
}
template <class... Args>
void RegisterInTurn(const std::string& name, Args... args) {
  benchmark::RegisterBenchmark(name.c_str(), args...)->UseManualTime()->Unit(benchmark::kMillisecond);
}

void RegisterLimits() {
  if (Limits() == nullptr) return;
  for (int threads : {1, 2}) {
    Register("limit/read/" + std::to_string(threads), ReadLimit, threads);
    Register("limit/int8/" + std::to_string(threads), Int8Limit, threads);
  }
}

void RegisterType(const KernelSet* set, TensorType type) {
  const std::string name = std::string(set->name) + "/" + std::string(InfoOf(type).name) + "/";
  const Kernel& kernel = set->For(type);
  for (int threads : {1, 2}) {
    const std::string rest = "/" + name + std::to_string(threads);
    RegisterInTurn("one_row" + rest, OneRow, set, type, threads, kernel.matmul);
    if (kernel.matmul_interleaved == nullptr) continue;
    RegisterInTurn("one_row_interleaved" + rest, OneRow, set, type, threads, kernel.matmul_interleaved);
  }
  for (int64_t n_rows : {4, 16, 64, 256}) {
    for (int threads : {1, 2}) {
      RegisterInTurn("rows/" + name + std::to_string(n_rows) + "/" + std::to_string(threads), ManyRows, set, type,
                     n_rows, threads);
    }
  }
}

void RegisterAll() {
  RegisterLimits();
  for (const KernelSet* set : AvailableKernelSets()) {
    const std::string name = "quantize/" + std::string(set->name);
    Register(name + "/32", Quantize, set, ActivationFormat::kQ8Block32);
    Register(name + "/256", Quantize, set, ActivationFormat::kQ8Block256);
    for (uint32_t number = 0; number < kTensorTypeLimit; ++number) {
      const TensorTypeInfo* info = FindTensorType(number);
      if (info != nullptr && info->is_weight) RegisterType(set, info->type);
    }
  }
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  sluice::SharedWeights();  // not within a measurement
  sluice::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
