#include "src/model/linear.h"

#include <algorithm>

#include "base/check.h"
#include "compute/interleave.h"

namespace sluice {
namespace {

constexpr int64_t kRowBlock = 128;
constexpr int64_t kMaxChunk = 256;
constexpr int64_t kScratchFloats = kRowBlock * kMaxChunk;  // of a thread
// Large enough to hide the cost of taking a chunk (below a microsecond) behind
// the time its bytes take from memory (some 5 us), small enough to balance.
constexpr int64_t kChunkBytes = 128 << 10;

// Where the rows are many arithmetic decides, and outputs come in whole tiles;
// in fewer of them where there would be too few chunks to share out.
constexpr int64_t kManyRows = 8;
constexpr int64_t kManyOutputs = 1024;

int64_t ChunkOutputs(const Matrix& matrix, int64_t rows) {
  if (rows > kManyRows) return matrix.rows < kManyOutputs ? 32 : 64;
  const int64_t row_bytes = static_cast<int64_t>(RowBytes(matrix.type, matrix.n_in));
  const int64_t outputs = std::clamp<int64_t>(kChunkBytes / std::max<int64_t>(row_bytes, 1), 16, kMaxChunk);
  // Whole panels, and pairs of them where there are more: some kernels take two at once.
  return outputs < 32 ? 16 : (outputs + 16) / 32 * 32;
}

// A product's outputs cut into chunks and its rows into blocks of equal size (a
// small one at the end would decode the weights for a few rows). All chunks of a
// block come before the next block, whose rows would not fit the cache beside it.
class Pieces {
 public:
  struct Piece {
    int64_t output, outputs;
    int64_t row, rows;
  };

  Pieces(const Matrix& matrix, int64_t rows)
      : outputs_(matrix.rows),
        rows_(rows),
        chunk_outputs_(ChunkOutputs(matrix, rows)),
        chunks_(CeilDiv(matrix.rows, chunk_outputs_)),
        blocks_(CeilDiv(rows, kRowBlock)) {}

  int64_t count() const { return chunks_ * blocks_; }
  Piece operator[](int64_t index) const {
    const int64_t output = index % chunks_ * chunk_outputs_, block = index / chunks_;
    const int64_t row = rows_ * block / blocks_;
    return {output, std::min(chunk_outputs_, outputs_ - output), row, rows_ * (block + 1) / blocks_ - row};
  }

 private:
  int64_t outputs_, rows_, chunk_outputs_, chunks_, blocks_;
};

// `activations` are those of all rows, `outputs` where the piece begins in each of its own.
void MultiplyPiece(const Kernel& kernel, const Matrix& matrix, const Pieces::Piece& piece,
                   const void* const* activations, float* const* outputs) {
  const uint8_t* weights = matrix.data + piece.output * RowBytes(matrix.type, matrix.n_in);
  const MatMulFn matmul = matrix.interleaved ? kernel.matmul_interleaved : kernel.matmul;
  matmul({matrix.type, weights, matrix.n_in, piece.outputs, activations + piece.row, outputs, piece.rows});
}

}  // namespace

Linear::Linear(Arena* arena, const KernelSet* kernels, ThreadPool* threads) : kernels_(kernels), threads_(threads) {
  up_scratch_ = arena->Take<float>(threads->threads() * kScratchFloats);
}

bool Linear::GainsByInterleaving(const Matrix& matrix) const {
  const bool fits = kInterleavedRows * RowBytes(matrix.type, matrix.n_in) <= kScratchFloats * sizeof(float);
  return fits && matrix.rows % kInterleavedRows == 0 && kernels_->For(matrix.type).matmul_interleaved != nullptr;
}

void Linear::Interleave(const Matrix& matrix, uint8_t* data) {
  const size_t panel_bytes = kInterleavedRows * RowBytes(matrix.type, matrix.n_in);
  threads_->ParallelFor(matrix.rows / kInterleavedRows, [&](int64_t panel, int thread) {
    uint8_t* const scratch = reinterpret_cast<uint8_t*>(up_scratch_ + thread * kScratchFloats);
    InterleavePanel(matrix.type, matrix.n_in, data + static_cast<size_t>(panel) * panel_bytes, scratch);
  });
}

void Linear::Multiply(const Matrix& matrix, const InputRows& in, float* const* out, int64_t out_begin) {
  MultiplyWith(*kernels_, matrix, in, out, out_begin);
}

void Linear::MultiplyWith(const KernelSet& kernels, const Matrix& matrix, const InputRows& in, float* const* out,
                          int64_t out_begin) {
  const Kernel& kernel = kernels.For(matrix.type);
  const void* const* activations = in.In(kernel.format);
  SLUICE_CHECK(kernel.matmul != nullptr && activations != nullptr);
  const Pieces pieces(matrix, in.count);
  threads_->ParallelFor(pieces.count(), [&](int64_t index, int) {
    const Pieces::Piece piece = pieces[index];
    float* outputs[kRowBlock];
    for (int64_t r = 0; r < piece.rows; ++r) outputs[r] = out[piece.row + r] + out_begin + piece.output;
    MultiplyPiece(kernel, matrix, piece, activations, outputs);
  });
}

void Linear::GateUp(const Matrix& gate, const Matrix& up, const InputRows& in, float* const* hidden,
                    int64_t out_begin) {
  const Kernel& gate_kernel = kernels_->For(gate.type);
  const Kernel& up_kernel = kernels_->For(up.type);
  SLUICE_CHECK(gate.rows == up.rows && gate.n_in == up.n_in);
  SLUICE_CHECK(in.In(gate_kernel.format) != nullptr && in.In(up_kernel.format) != nullptr);
  const Pieces pieces(gate, in.count);
  threads_->ParallelFor(pieces.count(), [&](int64_t index, int thread) {
    const Pieces::Piece piece = pieces[index];
    float* gates[kRowBlock];
    float* ups[kRowBlock];
    for (int64_t r = 0; r < piece.rows; ++r) {
      gates[r] = hidden[piece.row + r] + out_begin + piece.output;
      ups[r] = up_scratch_ + (thread * kRowBlock + r) * kMaxChunk;
    }
    MultiplyPiece(gate_kernel, gate, piece, in.In(gate_kernel.format), gates);
    MultiplyPiece(up_kernel, up, piece, in.In(up_kernel.format), ups);
    for (int64_t r = 0; r < piece.rows; ++r) kernels_->ops.swiglu(gates[r], ups[r], gates[r], piece.outputs);
  });
}

}  // namespace sluice
