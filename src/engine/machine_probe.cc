#include "src/engine/machine_probe.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/aligned_buffer.h"
#include "base/clock.h"
#include "base/status.h"

namespace sluice {
namespace {

constexpr size_t kMemoryBytes = size_t{256} << 20;
constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr int64_t kLongEnoughNs = 300'000'000;
constexpr int64_t kInputs = 4096;

// Bytes from 0x30 to 0x3f: as scales of any type these are numbers of ordinary
// size, so no time goes into subnormals.
absl::StatusOr<AlignedBuffer> MakeMemory(ThreadPool* threads) {
  ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::Create(kMemoryBytes));
  threads->ParallelFor(kMemoryBytes / kChunkBytes, [&](int64_t chunk, int) {
    uint64_t state = static_cast<uint64_t>(chunk);
    for (size_t i = 0; i < kChunkBytes; i += 8) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const uint64_t bytes = ((state ^ state >> 29) & 0x0f0f0f0f0f0f0f0fu) | 0x3030303030303030u;
      std::memcpy(memory.data() + static_cast<size_t>(chunk) * kChunkBytes + i, &bytes, 8);
    }
  });
  return memory;
}

// The best of as many passes over `bytes` as fit into the time.
double BestRate(size_t bytes, absl::FunctionRef<void()> pass) {
  const int64_t begin_ns = NowNs();
  int64_t best_ns = INT64_MAX;
  for (int64_t now_ns = begin_ns; now_ns - begin_ns < kLongEnoughNs;) {
    pass();
    const int64_t end_ns = NowNs();
    best_ns = std::min(best_ns, std::max<int64_t>(end_ns - now_ns, 1));
    now_ns = end_ns;
  }
  return static_cast<double>(bytes) * 1e9 / static_cast<double>(best_ns);
}

}  // namespace

absl::StatusOr<double> MeasureKernelRate(const KernelSet& kernels, TensorType type, ThreadPool* threads) {
  ASSIGN_OR_RETURN(const AlignedBuffer memory, MakeMemory(threads));
  const Kernel& kernel = kernels.For(type);
  const size_t row_bytes = RowBytes(type, kInputs);
  const int64_t chunk_rows = static_cast<int64_t>(kChunkBytes / row_bytes);
  const int64_t chunks = static_cast<int64_t>(kMemoryBytes / row_bytes) / chunk_rows;
  std::vector<float> input(kInputs, 0.5f), output(static_cast<size_t>(chunks * chunk_rows));
  ASSIGN_OR_RETURN(AlignedBuffer activations, AlignedBuffer::Create(ActivationRowBytes(kernel.format, kInputs)));
  kernels.quantize[static_cast<int>(kernel.format)](input.data(), kInputs, activations.data());
  const void* const row = activations.data();
  return BestRate(static_cast<size_t>(chunks * chunk_rows) * row_bytes, [&] {
    threads->ParallelFor(chunks, [&](int64_t chunk, int) {
      const int64_t first = chunk * chunk_rows;
      float* const out = output.data() + first;
      kernel.matmul({type, memory.data() + static_cast<size_t>(first) * row_bytes, kInputs, chunk_rows, &row, &out, 1});
    });
  });
}

absl::StatusOr<double> MeasureMemoryRate(const KernelSet& kernels, ThreadPool* threads) {
  return MeasureKernelRate(kernels, TensorType::kF32, threads);
}

}  // namespace sluice
