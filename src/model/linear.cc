#include "src/model/linear.h"

#include <algorithm>

#include "base/check.h"

namespace sluice {
namespace {

constexpr int64_t kRowBlock = 128;
constexpr int64_t kMaxChunk = 256;
// Large enough to hide the cost of taking a chunk (below a microsecond) behind
// the time its bytes take from memory (some 5 us), small enough to balance.
constexpr int64_t kChunkBytes = 128 << 10;

int64_t ChunkOutputs(const Matrix& matrix) {
  const int64_t row_bytes = static_cast<int64_t>(RowBytes(matrix.type, matrix.n_in));
  const int64_t outputs = std::clamp<int64_t>(kChunkBytes / std::max<int64_t>(row_bytes, 1), 16, kMaxChunk);
  return outputs / 16 * 16;
}

// Runs `kernel` on outputs [begin, begin + count) of a matrix for a block of rows.
void MultiplyBlock(const Kernel& kernel, const Matrix& matrix, int64_t begin, int64_t count,
                   const void* const* activations, float* const* outputs, int64_t rows) {
  MatMulArgs args{
      matrix.type, matrix.data + begin * RowBytes(matrix.type, matrix.n_in), matrix.n_in, count, activations, outputs,
      rows};
  kernel.matmul(args);
}

}  // namespace

Linear::Linear(Arena* arena, const KernelSet* kernels, ThreadPool* threads) : kernels_(kernels), threads_(threads) {
  up_scratch_ = arena->Take<float>(threads->threads() * kRowBlock * kMaxChunk);
}

void Linear::Multiply(const Matrix& matrix, const InputRows& in, float* const* out, int64_t out_begin) {
  MultiplyWith(*kernels_, matrix, in, out, out_begin);
}

void Linear::MultiplyWith(const KernelSet& kernels, const Matrix& matrix, const InputRows& in, float* const* out,
                          int64_t out_begin) {
  const Kernel& kernel = kernels.For(matrix.type);
  const void* const* activations = in.In(kernel.format);
  SLUICE_CHECK(kernel.matmul != nullptr && activations != nullptr);
  const int64_t chunk_outputs = ChunkOutputs(matrix);
  threads_->ParallelFor(CeilDiv(matrix.rows, chunk_outputs), [&](int64_t chunk, int) {
    const int64_t begin = chunk * chunk_outputs;
    const int64_t count = std::min(chunk_outputs, matrix.rows - begin);
    float* outputs[kRowBlock];
    for (int64_t row = 0; row < in.count; row += kRowBlock) {
      const int64_t rows = std::min(kRowBlock, in.count - row);
      for (int64_t r = 0; r < rows; ++r) outputs[r] = out[row + r] + out_begin + begin;
      MultiplyBlock(kernel, matrix, begin, count, activations + row, outputs, rows);
    }
  });
}

void Linear::GateUp(const Matrix& gate, const Matrix& up, const InputRows& in, float* const* hidden,
                    int64_t out_begin) {
  const Kernel& gate_kernel = kernels_->For(gate.type);
  const Kernel& up_kernel = kernels_->For(up.type);
  SLUICE_CHECK(gate.rows == up.rows && gate.n_in == up.n_in);
  SLUICE_CHECK(in.In(gate_kernel.format) != nullptr && in.In(up_kernel.format) != nullptr);
  const int64_t chunk_outputs = ChunkOutputs(gate);
  threads_->ParallelFor(CeilDiv(gate.rows, chunk_outputs), [&](int64_t chunk, int thread) {
    const int64_t begin = chunk * chunk_outputs;
    const int64_t count = std::min(chunk_outputs, gate.rows - begin);
    float* gates[kRowBlock];
    float* ups[kRowBlock];
    for (int64_t row = 0; row < in.count; row += kRowBlock) {
      const int64_t rows = std::min(kRowBlock, in.count - row);
      for (int64_t r = 0; r < rows; ++r) {
        gates[r] = hidden[row + r] + out_begin + begin;
        ups[r] = up_scratch_ + (thread * kRowBlock + r) * kMaxChunk;
      }
      MultiplyBlock(gate_kernel, gate, begin, count, in.In(gate_kernel.format) + row, gates, rows);
      MultiplyBlock(up_kernel, up, begin, count, in.In(up_kernel.format) + row, ups, rows);
      for (int64_t r = 0; r < rows; ++r) kernels_->ops.swiglu(gates[r], ups[r], gates[r], count);
    }
  });
}

}  // namespace sluice
