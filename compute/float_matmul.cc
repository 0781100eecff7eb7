#include "compute/float_matmul.h"

#include <algorithm>

#include "compute/dequantize.h"
#include "compute/ops.h"

namespace sluice {
namespace {

constexpr int64_t kTileRows = 64;
// A whole number of blocks of any type and of sixteens, so that a chain sees
// its elements as if the row were whole.
constexpr int64_t kPieceElements = 1024;

void TileOutput(const MatMulArgs& args, DotLanesFn dot_lanes, int64_t output, int64_t first_row, int64_t rows) {
  alignas(64) float lanes[kTileRows][kLanes] = {};
  alignas(64) float weights[kPieceElements];
  const auto row_bytes = static_cast<int64_t>(RowBytes(args.type, static_cast<uint64_t>(args.n_in)));
  const auto piece_bytes = static_cast<int64_t>(RowBytes(args.type, kPieceElements));
  const uint8_t* bytes = static_cast<const uint8_t*>(args.weights) + output * row_bytes;
  for (int64_t start = 0; start < args.n_in; start += kPieceElements, bytes += piece_bytes) {
    const int64_t length = std::min(kPieceElements, args.n_in - start);
    DequantizeRow(args.type, bytes, length, weights);
    for (int64_t r = 0; r < rows; ++r) {
      dot_lanes(weights, static_cast<const float*>(args.activations[first_row + r]) + start, length, lanes[r]);
    }
  }
  for (int64_t r = 0; r < rows; ++r) args.outputs[first_row + r][output] = SumLanes(lanes[r]);
}

}  // namespace

void MatMulInFloat(const MatMulArgs& args, DotLanesFn dot_lanes) {
  for (int64_t first = 0; first < args.n_rows; first += kTileRows) {
    const int64_t rows = std::min(kTileRows, args.n_rows - first);
    for (int64_t o = 0; o < args.n_out; ++o) TileOutput(args, dot_lanes, o, first, rows);
  }
}

}  // namespace sluice
