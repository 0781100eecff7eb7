#include "src/model/activation_rows.h"

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "tests/src/model/tiny_model.h"

namespace sluice {
namespace {

constexpr ActivationFormat kFormats[] = {ActivationFormat::kF32, ActivationFormat::kQ8Block32,
                                         ActivationFormat::kQ8Block256, ActivationFormat::kQ8Groups256};

FormatSet AllFormats() {
  FormatSet formats;
  for (ActivationFormat format : kFormats) formats.Add(format);
  return formats;
}

struct RowsTest {
  RowsTest(int64_t max_rows, int64_t width, const FormatSet& formats, int thread_count = 1) : threads(thread_count) {
    Arena counting;
    ActivationRows(&counting, max_rows, width, formats);
    memory = *AlignedBuffer::Create(counting.used_bytes());
    Arena arena(memory.data(), memory.size_bytes());
    rows = std::make_unique<ActivationRows>(&arena, max_rows, width, formats);
  }
  void Fill(int64_t count, int64_t width, TestNumbers* numbers) {
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t i = 0; i < width; ++i) rows->row(r)[i] = numbers->Next();
    }
    rows->Refill(count, width);
  }

  ThreadPool threads;
  AlignedBuffer memory;
  std::unique_ptr<ActivationRows> rows;
};

// The form of one row made alone.
std::vector<uint8_t> Expected(const float* row, int64_t width, ActivationFormat format) {
  std::vector<uint8_t> bytes(ActivationRowBytes(format, width) + 64);
  uint8_t* aligned = reinterpret_cast<uint8_t*>(AlignUp(reinterpret_cast<uintptr_t>(bytes.data()), 64));
  BestKernelSet().quantize[static_cast<int>(format)](row, width, aligned);
  return {aligned, aligned + ActivationRowBytes(format, width)};
}

void CheckForms(const RowsTest& test, const InputRows& in, int64_t count, int64_t width) {
  REQUIRE(in.count == count);
  for (ActivationFormat format :
       {ActivationFormat::kQ8Block32, ActivationFormat::kQ8Block256, ActivationFormat::kQ8Groups256}) {
    for (int64_t r = 0; r < count; ++r) {
      const std::vector<uint8_t> expected = Expected(test.rows->row(r), width, format);
      REQUIRE(std::memcmp(in.In(format)[r], expected.data(), expected.size()) == 0);
      REQUIRE(reinterpret_cast<uintptr_t>(in.In(format)[r]) % 64 == 0);
    }
  }
  for (int64_t r = 0; r < count; ++r) REQUIRE(in.In(ActivationFormat::kF32)[r] == test.rows->row(r));
}

TEST_CASE("each row has the forms it would have alone, for any number of rows and threads") {
  TestNumbers numbers(1);
  for (int threads : {1, 3}) {
    RowsTest test(40, 512, AllFormats(), threads);
    for (int64_t count : {40, 1, 17}) {
      for (int64_t width : {512, 256}) {
        test.Fill(count, width, &numbers);
        CheckForms(test, test.rows->Quantize(BestKernelSet(), &test.threads), count, width);
      }
    }
  }
}

TEST_CASE("forms that the width does not divide into are not made") {
  TestNumbers numbers(2);
  RowsTest test(3, 512, AllFormats());
  test.Fill(3, 96, &numbers);
  InputRows in = test.rows->Quantize(BestKernelSet(), &test.threads);
  CHECK(in.In(ActivationFormat::kQ8Block256) == nullptr);
  CHECK(in.In(ActivationFormat::kQ8Block32) != nullptr);
  test.Fill(3, 50, &numbers);
  in = test.rows->Quantize(BestKernelSet(), &test.threads);
  CHECK(in.In(ActivationFormat::kQ8Block32) == nullptr);
  CHECK(in.In(ActivationFormat::kF32) != nullptr);
}

TEST_CASE("float rows are always there and other forms only when asked for") {
  TestNumbers numbers(3);
  RowsTest test(2, 256, FormatSet{});
  test.Fill(2, 256, &numbers);
  const InputRows in = test.rows->Quantize(BestKernelSet(), &test.threads);
  CHECK(in.In(ActivationFormat::kF32)[1] == test.rows->row(1));
  CHECK(in.In(ActivationFormat::kQ8Block32) == nullptr);
  CHECK(in.In(ActivationFormat::kQ8Block256) == nullptr);
}

TEST_CASE("forms are made once, and again after a refill") {
  TestNumbers numbers(4);
  RowsTest test(1, 256, AllFormats());
  test.Fill(1, 256, &numbers);
  const std::vector<uint8_t> before = Expected(test.rows->row(0), 256, ActivationFormat::kQ8Block32);
  InputRows in = test.rows->Quantize(BestKernelSet(), &test.threads);
  test.rows->row(0)[0] += 100.0f;
  in = test.rows->Quantize(BestKernelSet(), &test.threads);
  CHECK(std::memcmp(in.In(ActivationFormat::kQ8Block32)[0], before.data(), before.size()) == 0);
  test.rows->Refill(1);
  in = test.rows->Quantize(BestKernelSet(), &test.threads);
  CHECK(std::memcmp(in.In(ActivationFormat::kQ8Block32)[0], before.data(), before.size()) != 0);
}

TEST_CASE("a part of the rows keeps their order") {
  TestNumbers numbers(5);
  RowsTest test(10, 64, AllFormats());
  test.Fill(10, 64, &numbers);
  const InputRows in = test.rows->Quantize(BestKernelSet(), &test.threads);
  const InputRows part = in.Sub(3, 4);
  CHECK(part.count == 4);
  for (int64_t r = 0; r < 4; ++r) {
    CHECK(part.In(ActivationFormat::kQ8Block32)[r] == in.In(ActivationFormat::kQ8Block32)[r + 3]);
  }
  CHECK(part.In(ActivationFormat::kQ8Block256) == nullptr);
}

}  // namespace
}  // namespace sluice
