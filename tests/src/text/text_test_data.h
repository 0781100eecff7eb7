// Readers of the tokenizer reference data.
#ifndef SLUICE_TESTS_SRC_TEXT_TEXT_TEST_DATA_H_
#define SLUICE_TESTS_SRC_TEXT_TEXT_TEST_DATA_H_

#include <doctest/doctest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "src/text/tokenizer.h"
#include "storage/byte_source.h"
#include "storage/gguf.h"
#include "tests/test_data.h"

namespace sluice {

using Json = nlohmann::ordered_json;

// One object of each line of a file under the shared data.
inline std::vector<Json> ReadJsonLines(const std::string& relative) {
  std::vector<Json> lines;
  for (absl::string_view line : absl::StrSplit(ReadFileToString(SharedPath(relative)), '\n', absl::SkipEmpty())) {
    lines.push_back(Json::parse(line.begin(), line.end(), nullptr, false));
    REQUIRE(lines.back().is_object());
  }
  return lines;
}

inline GgufMetadata ReadMetadata(const std::string& relative) {
  auto source = FileByteSource::Open(SharedPath(relative));
  REQUIRE(source.ok());
  auto header = ParseGguf(source->get(), relative);
  REQUIRE_MESSAGE(header.ok(), header.status().ToString());
  return std::move(header->metadata);
}

inline Tokenizer ReadTokenizer(const std::string& relative) {
  auto tokenizer = Tokenizer::Create(ReadMetadata(relative));
  REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().ToString());
  return *std::move(tokenizer);
}

inline std::vector<int32_t> Ids(const Json& json) { return json.get<std::vector<int32_t>>(); }
inline std::string Text(const Json& json) { return json.get<std::string>(); }
inline std::string BytesOfHex(const Json& json) { return absl::HexStringToBytes(Text(json)); }

}  // namespace sluice

#endif  // SLUICE_TESTS_SRC_TEXT_TEXT_TEST_DATA_H_
