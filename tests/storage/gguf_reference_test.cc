// The reference files of formats/wellformed and formats/malformed.
#include <doctest/doctest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "storage/byte_source.h"
#include "storage/gguf.h"
#include "storage/model_files.h"
#include "storage/split_set.h"
#include "tests/storage/largest_allocation.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

Json ReadJson(const std::string& path) {
  Json parsed = Json::parse(ReadFileToString(path), nullptr, false);
  REQUIRE_FALSE(parsed.is_discarded());
  return parsed;
}

absl::StatusOr<GgufHeader> ParseFile(const std::string& path) {
  absl::StatusOr<std::unique_ptr<FileByteSource>> source = FileByteSource::Open(path);
  if (!source.ok()) return source.status();
  return ParseGguf(source->get(), path);
}

Json ToJson(const GgufArray& array) {
  Json items = Json::array();
  const bool is_bool = array.element_type == GgufValueType::kBool;
  const bool is_u64 = array.element_type == GgufValueType::kU64;
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(&array.items)) {
    for (const int64_t number : *numbers) {
      items.push_back(is_bool ? Json(number == 1) : is_u64 ? Json(static_cast<uint64_t>(number)) : Json(number));
    }
  } else if (const auto* floats = std::get_if<std::vector<double>>(&array.items)) {
    for (const double number : *floats) items.push_back(number);
  } else {
    for (const std::string& text : std::get<std::vector<std::string>>(array.items)) items.push_back(text);
  }
  return {{"elem", static_cast<uint32_t>(array.element_type)}, {"items", items}};
}

Json ToJson(const GgufValue& value) {
  return std::visit(
      [](const auto& held) {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, GgufArray>) {
          return ToJson(held);
        } else {
          return Json(held);
        }
      },
      value.value);
}

void CheckKeys(const GgufMetadata& keys, const Json& expected) {
  REQUIRE(keys.entries().size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto& [key, value] = keys.entries()[i];
    CHECK(key == expected[i][0].get<std::string>());
    CHECK(static_cast<uint32_t>(value.type) == expected[i][1].get<uint32_t>());
    CHECK(ToJson(value) == expected[i][2]);
    CHECK(keys.Find(key) == &value);
  }
}

void CheckTensors(const std::vector<GgufTensor>& tensors, const Json& expected) {
  REQUIRE(tensors.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    CHECK(tensors[i].name == expected[i]["name"].get<std::string>());
    CHECK(static_cast<uint32_t>(tensors[i].type) == expected[i]["type"].get<uint32_t>());
    CHECK(tensors[i].offset == expected[i]["file_offset"].get<uint64_t>());
    CHECK(tensors[i].bytes == expected[i]["bytes"].get<uint64_t>());
    const auto dims = expected[i]["dims"].get<std::vector<uint64_t>>();
    REQUIRE(static_cast<size_t>(tensors[i].n_dims) == dims.size());
    for (size_t d = 0; d < 4; ++d) CHECK(tensors[i].dims[d] == (d < dims.size() ? dims[d] : 1));
  }
}

// An error line must name the file and one of the fields of the format.
void CheckMessage(const absl::Status& status, const std::string& file) {
  const std::string message(status.message());
  CHECK(status.code() != absl::StatusCode::kInvalidArgument);
  CHECK_MESSAGE(absl::StrContains(message, file), message);
  CHECK_FALSE(absl::StrContains(message, "\n"));
  const std::string words = message.substr(message.find(file) + file.size());
  bool named = false;
  for (const char* field :
       {"magic", "version", "count", "key", "length", "type", "value", "array", "bool", "dimension", "offset",
        "general.alignment", "tensor", "split.no", "split.count", "split.tensors.count", "cannot open"}) {
    named = named || absl::StrContains(words, field);
  }
  CHECK_MESSAGE(named, message);
}

}  // namespace

TEST_CASE("every well-formed reference file gives exactly the expected keys and places") {
  SKIP_WITHOUT_SHARED("formats/wellformed/expected.json");
  const Json expected = ReadJson(SharedPath("formats/wellformed/expected.json"));
  int checked = 0;
  for (const Json& file : expected["files"]) {
    const std::string path = SharedPath("formats/wellformed/" + file["file"].get<std::string>());
    CAPTURE(path);
    const absl::StatusOr<GgufHeader> header = ParseFile(path);
    REQUIRE_MESSAGE(header.ok(), header.status().message());
    CHECK(header->data_start == file["data_start"].get<uint64_t>());
    CHECK(header->alignment == file["alignment"].get<uint64_t>());
    CheckKeys(header->metadata, file["kv"]);
    CheckTensors(header->tensors, file["tensors"]);
    ++checked;
  }
  CHECK(checked >= 10);
}

TEST_CASE("every malformed reference file is refused with its field, without a large allocation") {
  SKIP_WITHOUT_SHARED("formats/malformed/expected.json");
  const Json expected = ReadJson(SharedPath("formats/malformed/expected.json"));
  int refused = 0;
  for (const Json& file : expected["files"]) {
    const std::string name = file["file"].get<std::string>();
    CAPTURE(name);
    ResetLargestAllocation();
    const absl::StatusOr<GgufHeader> header = ParseFile(SharedPath("formats/malformed/" + name));
    CHECK((LargestAllocationBytes() > 0 || !CountsAllocations()));
    CHECK(LargestAllocationBytes() <= 4096 + 16 * file["size"].get<size_t>());
    if (header.ok()) {
      CHECK(file["expect"] == "either");
      continue;
    }
    CheckMessage(header.status(), name);
    ++refused;
  }
  CHECK(refused >= 80);
}

TEST_CASE("every short prefix of the basic reference file is refused") {
  SKIP_WITHOUT_SHARED("formats/wellformed/basic.gguf");
  const std::string bytes = ReadFileToString(SharedPath("formats/wellformed/basic.gguf"));
  REQUIRE(bytes.size() == 640);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    MemoryByteSource source(absl::string_view(bytes).substr(0, length));
    CHECK_MESSAGE(ParseGguf(&source, "basic").ok() == (length >= 624), "prefix of " << length);
  }
}

TEST_CASE("well-formed reference sets open with all their tensors") {
  SKIP_WITHOUT_SHARED("formats/wellformed/split/expected.json");
  const Json expected = ReadJson(SharedPath("formats/wellformed/split/expected.json"));
  int checked = 0;
  for (const Json& set : expected["sets"]) {
    const std::string path = SharedPath("formats/wellformed/split/" + set["first"].get<std::string>());
    CAPTURE(path);
    const absl::StatusOr<ModelFiles> model = ModelFiles::Open(path);
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    const auto per_file = set["per_file"].get<std::vector<int>>();
    CHECK(model->paths().size() == per_file.size());
    std::vector<int> found(per_file.size(), 0);
    std::vector<std::string> names;
    for (const GgufTensor& tensor : model->tensors()) {
      ++found[static_cast<size_t>(tensor.file)];
      names.push_back(tensor.name);
      CHECK(model->FindTensor(tensor.name) == &tensor);
    }
    CHECK(found == per_file);
    CHECK(names == set["tensors"].get<std::vector<std::string>>());
    ++checked;
  }
  CHECK(checked >= 3);
}

TEST_CASE("malformed reference sets are refused with file and field") {
  SKIP_WITHOUT_SHARED("formats/malformed/split/expected.json");
  const Json expected = ReadJson(SharedPath("formats/malformed/split/expected.json"));
  int refused = 0;
  for (const Json& set : expected["sets"]) {
    const std::string open = set["open"].get<std::string>();
    CAPTURE(open);
    const absl::StatusOr<ModelFiles> model = ModelFiles::Open(SharedPath("formats/malformed/split/" + open));
    if (model.ok()) {
      CHECK(set["expect"] == "either");
      continue;
    }
    CheckMessage(model.status(), open.substr(0, open.find('-')));
    ++refused;
  }
  CHECK(refused >= 5);
}

TEST_CASE("golden models open, single and split") {
  SKIP_WITHOUT_SHARED("golden");
  int opened = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(SharedPath("golden"))) {
    const std::string path = file.path().string();
    const absl::optional<ShardName> shard = ParseShardName(path);
    if (file.path().extension() != ".gguf" || (shard.has_value() && shard->number != 1)) continue;
    const absl::StatusOr<ModelFiles> model = ModelFiles::Open(path);
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    CHECK(model->metadata().Has("general.architecture"));
    CHECK(!model->tensors().empty());
    ++opened;
  }
  CHECK(opened > 0);
}

}  // namespace sluice
