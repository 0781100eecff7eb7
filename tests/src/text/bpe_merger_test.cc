#include "src/text/bpe_merger.h"

#include <doctest/doctest.h>

#include <random>
#include <vector>

namespace sluice {
namespace {

// The definition, word for word.
std::vector<int32_t> MergeByDefinition(const MergeTable& table, std::vector<int32_t> symbols) {
  while (true) {
    uint32_t lowest = MergeTable::kNoRank;
    size_t at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const uint32_t rank = table.FindRank(symbols[i], symbols[i + 1]);
      if (rank < lowest) {
        lowest = rank;
        at = i;
      }
    }
    if (lowest == MergeTable::kNoRank) return symbols;
    symbols[at] = table.ResultOf(lowest);
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

// Merges of random known symbols, each into a new one.
MergeTable RandomTable(int letters, int merges, std::mt19937* random) {
  MergeTable table(static_cast<size_t>(merges));
  for (int i = 0; i < merges; ++i) {
    std::uniform_int_distribution<int32_t> known(0, letters + i - 1);
    table.Add(known(*random), known(*random), letters + i);
  }
  return table;
}

std::vector<int32_t> RandomSymbols(int letters, size_t count, std::mt19937* random) {
  std::uniform_int_distribution<int32_t> letter(0, letters - 1);
  std::vector<int32_t> symbols(count);
  for (int32_t& symbol : symbols) symbol = letter(*random);
  return symbols;
}

TEST_CASE("short and long pieces merge as the definition says") {
  std::mt19937 random(7);
  int merged = 0;
  for (int round = 0; round < 300; ++round) {
    const int letters = 1 + round % 4;
    const MergeTable table = RandomTable(letters, 1 + round % 40, &random);
    BpeMerger merger(&table);
    for (size_t length : {0, 1, 2, 3, 7, 31, 32, 33, 34, 100}) {
      std::vector<int32_t> symbols = RandomSymbols(letters, length, &random);
      const std::vector<int32_t> expected = MergeByDefinition(table, symbols);
      std::vector<int32_t> actual;
      merger.Merge(absl::MakeSpan(symbols), &actual);
      CHECK(actual == expected);
      merged += actual.size() < length ? 1 : 0;
    }
  }
  CHECK(merged > 1000);
}

TEST_CASE("a pair listed twice keeps its lower rank and later merges keep their order") {
  MergeTable table(4);
  table.Add(1, 2, 10);
  table.Add(1, 2, 11);
  table.Add(2, 3, 12);
  CHECK(table.FindRank(1, 2) < table.FindRank(2, 3));
  CHECK(table.ResultOf(table.FindRank(1, 2)) == 10);
  CHECK(table.FindRank(3, 2) == MergeTable::kNoRank);
}

TEST_CASE("an empty table merges nothing") {
  const MergeTable table(0);
  BpeMerger merger(&table);
  std::vector<int32_t> symbols(50, 3);
  std::vector<int32_t> out = {9};
  merger.Merge(absl::MakeSpan(symbols), &out);
  CHECK(out.size() == 51);
}

TEST_CASE("a piece of a megabyte merges in time") {
  MergeTable table(40);
  for (int i = 0; i < 20; ++i) table.Add(i, i, i + 1);
  BpeMerger merger(&table);
  std::vector<int32_t> symbols(1 << 20, 0);
  std::vector<int32_t> out;
  merger.Merge(absl::MakeSpan(symbols), &out);
  CHECK(out == std::vector<int32_t>{20});
}

}  // namespace
}  // namespace sluice
