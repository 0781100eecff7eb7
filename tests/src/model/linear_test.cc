#include "src/model/linear.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "compute/dequantize.h"
#include "compute/ops.h"
#include "tests/src/model/tiny_model.h"

namespace sluice {
namespace {

// Types whose blocks begin with their float16 fields: those get a small number,
// everything else is arbitrary.
constexpr TensorType kTypes[] = {TensorType::kF32,  TensorType::kF16, TensorType::kQ8_0,
                                 TensorType::kQ4_0, TensorType::kQ4K, TensorType::kQ5K};

int HalvesInFront(TensorType type) { return type == TensorType::kQ4K || type == TensorType::kQ5K ? 2 : 1; }

struct TestMatrix {
  TestMatrix(TensorType type, int64_t n_in, int64_t n_out, TestNumbers* numbers) : bytes(RowBytes(type, n_in) * n_out) {
    const size_t step = type == TensorType::kF32 ? 4 : InfoOf(type).block_bytes;
    for (size_t begin = 0; begin < bytes.size(); begin += step) FillBlock(type, begin, step, numbers);
    matrix = {type, bytes.data(), n_in, n_out};
  }
  void FillBlock(TensorType type, size_t begin, size_t size, TestNumbers* numbers) {
    for (size_t i = 0; i < size; ++i) bytes[begin + i] = static_cast<uint8_t>(numbers->Bits());
    if (type == TensorType::kF32) {
      const float value = numbers->Next();
      std::memcpy(&bytes[begin], &value, sizeof(value));
      return;
    }
    for (int half = 0; half < HalvesInFront(type); ++half) {
      const uint16_t value = F32ToF16(0.01f * numbers->Next());
      std::memcpy(&bytes[begin + 2 * half], &value, sizeof(value));
    }
  }
  std::vector<uint8_t> bytes;
  Matrix matrix;
};

struct Bench {
  explicit Bench(int thread_count, const KernelSet* set = &BestKernelSet()) : threads(thread_count), kernels(set) {
    Arena counting;
    Linear(&counting, kernels, &threads);
    memory = *AlignedBuffer::Create(counting.used_bytes());
    Arena arena(memory.data(), memory.size_bytes());
    linear = std::make_unique<Linear>(&arena, kernels, &threads);
  }
  ThreadPool threads;
  const KernelSet* kernels;
  AlignedBuffer memory;
  std::unique_ptr<Linear> linear;
};

// Rows with every form, and outputs to write to.
struct Rows {
  Rows(int64_t count, int64_t width, uint64_t seed) {
    FormatSet formats;
    for (TensorType type : kTypes) formats.Add(BestKernelSet().For(type).format);
    memory = *AlignedBuffer::Create(64 << 20);
    Arena arena(memory.data(), memory.size_bytes());
    values = std::make_unique<ActivationRows>(&arena, count, width, formats);
    TestNumbers numbers(seed);
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t i = 0; i < width; ++i) values->row(r)[i] = numbers.Next();
    }
    values->Refill(count);
  }
  InputRows In(const KernelSet& kernels) {
    ThreadPool one(1);
    return values->Quantize(kernels, &one);
  }
  AlignedBuffer memory;
  std::unique_ptr<ActivationRows> values;
};

struct Outputs {
  Outputs(int64_t rows, int64_t width) : values(rows * width, -7.0f), pointers(rows) {
    for (int64_t r = 0; r < rows; ++r) pointers[r] = values.data() + r * width;
  }
  std::vector<float> values;
  std::vector<float*> pointers;
};

bool Same(const Outputs& a, const Outputs& b) {
  return a.values.size() == b.values.size() &&
         std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(float)) == 0;
}

Matrix Part(const Matrix& matrix, int64_t begin, int64_t rows) {
  return {matrix.type, matrix.data + begin * RowBytes(matrix.type, matrix.n_in), matrix.n_in, rows};
}

constexpr int64_t kIn = 512, kOut = 1100, kRows = 140;

TEST_CASE("a product is close to the sum it stands for") {
  TestNumbers numbers(1);
  Bench bench(2, &FloatKernelSet());
  for (TensorType type : kTypes) {
    const TestMatrix test(type, kIn, 40, &numbers);
    Rows rows(3, kIn, 2);
    Outputs out(3, 40);
    bench.linear->Multiply(test.matrix, rows.In(*bench.kernels), out.pointers.data());
    std::vector<float> weights(kIn);
    for (int64_t o = 0; o < 40; ++o) {
      DequantizeRow(type, test.matrix.data + o * RowBytes(type, kIn), kIn, weights.data());
      for (int64_t r = 0; r < 3; ++r) {
        double sum = 0.0, magnitude = 1e-6;
        for (int64_t i = 0; i < kIn; ++i) {
          sum += double{weights[i]} * rows.values->row(r)[i];
          magnitude += std::fabs(double{weights[i]} * rows.values->row(r)[i]);
        }
        REQUIRE(std::fabs(out.pointers[r][o] - sum) < 1e-5 * magnitude);
      }
    }
  }
}

TEST_CASE("any number of threads, of rows at once and of pieces gives the same bits") {
  TestNumbers numbers(3);
  for (TensorType type : kTypes) {
    const TestMatrix test(type, kIn, kOut, &numbers);
    Rows rows(kRows, kIn, 4);
    const InputRows in = rows.In(BestKernelSet());
    Outputs expected(kRows, kOut);
    Bench(1).linear->Multiply(test.matrix, in, expected.pointers.data());
    for (int threads : {2, 7}) {
      Bench bench(threads);
      Outputs out(kRows, kOut);
      bench.linear->Multiply(test.matrix, in, out.pointers.data());
      CHECK(Same(out, expected));
      // Row by row, and outputs in uneven pieces as a streamed trunk brings them.
      Outputs pieces(kRows, kOut);
      for (int64_t begin = 0, rows_here = 1; begin < kOut; begin += rows_here, rows_here = rows_here * 3 + 1) {
        const Matrix part = Part(test.matrix, begin, std::min(rows_here, kOut - begin));
        for (int64_t r = 0; r < kRows; r += 13) {
          const int64_t count = std::min<int64_t>(13, kRows - r);
          bench.linear->Multiply(part, in.Sub(r, count), pieces.pointers.data() + r, begin);
        }
      }
      CHECK(Same(pieces, expected));
    }
  }
}

TEST_CASE("gate and up together equal two products and their combination") {
  TestNumbers numbers(5);
  for (TensorType gate_type : kTypes) {
    // Types may differ within a pair.
    for (TensorType up_type : {gate_type, TensorType::kQ8_0}) {
      const TestMatrix gate(gate_type, kIn, 700, &numbers), up(up_type, kIn, 700, &numbers);
      Rows rows(kRows, kIn, 6);
      const InputRows in = rows.In(BestKernelSet());
      Bench one(1);
      Outputs gates(kRows, 700), ups(kRows, 700);
      one.linear->Multiply(gate.matrix, in, gates.pointers.data());
      one.linear->Multiply(up.matrix, in, ups.pointers.data());
      for (size_t i = 0; i < gates.values.size(); ++i) gates.values[i] = Silu(gates.values[i]) * ups.values[i];
      for (int threads : {1, 5}) {
        Bench bench(threads);
        Outputs hidden(kRows, 700);
        bench.linear->GateUp(Part(gate.matrix, 0, 333), Part(up.matrix, 0, 333), in, hidden.pointers.data(), 0);
        bench.linear->GateUp(Part(gate.matrix, 333, 367), Part(up.matrix, 333, 367), in, hidden.pointers.data(), 333);
        CHECK(Same(hidden, gates));
      }
    }
  }
}

TEST_CASE("every weight type has a product in every kernel set") {
  for (const KernelSet* set : AvailableKernelSets()) {
    for (uint32_t type = 0; type < kTensorTypeLimit; ++type) {
      const TensorTypeInfo* info = FindTensorType(type);
      const bool is_weight = info != nullptr && info->is_weight;
      CHECK((set->kernels[type].matmul != nullptr) == is_weight);
      CHECK((FloatKernelSet().kernels[type].matmul != nullptr) == is_weight);
    }
  }
}

TEST_CASE("outputs outside the product are left alone") {
  TestNumbers numbers(8);
  const TestMatrix test(TensorType::kQ8_0, 64, 5, &numbers);
  Rows rows(2, 64, 9);
  Outputs out(2, 9);
  Bench(2).linear->Multiply(test.matrix, rows.In(BestKernelSet()), out.pointers.data(), 2);
  for (int64_t r = 0; r < 2; ++r) {
    for (int64_t o : {0, 1, 7, 8}) CHECK(out.pointers[r][o] == -7.0f);
    for (int64_t o = 2; o < 7; ++o) CHECK(out.pointers[r][o] != -7.0f);
  }
}

}  // namespace
}  // namespace sluice
