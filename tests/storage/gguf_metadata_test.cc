#include <doctest/doctest.h>

#include <limits>

#include "absl/strings/match.h"
#include "storage/gguf.h"

namespace sluice {
namespace {

GgufValue Uint(uint64_t number) { return {GgufValueType::kU32, number}; }
GgufValue Int(int64_t number) { return {GgufValueType::kI32, number}; }
GgufValue Float(double number) { return {GgufValueType::kF32, number}; }
GgufValue Text(std::string text) { return {GgufValueType::kString, std::move(text)}; }
GgufValue Flag(bool flag) { return {GgufValueType::kBool, flag}; }
template <typename T>
GgufValue Array(GgufValueType type, std::vector<T> items) {
  return {GgufValueType::kArray, GgufArray{type, std::move(items)}};
}

GgufMetadata Sample() {
  GgufMetadata keys;
  CHECK(keys.Insert("uint", Uint(7)));
  CHECK(keys.Insert("int", Int(8)));
  CHECK(keys.Insert("negative", Int(-9)));
  CHECK(keys.Insert("float", Float(0.5)));
  CHECK(keys.Insert("text", Text("hello")));
  CHECK(keys.Insert("flag", Flag(true)));
  CHECK(keys.Insert("one", Uint(1)));
  CHECK(keys.Insert("words", Array<std::string>(GgufValueType::kString, {"a", "b"})));
  CHECK(keys.Insert("ints", Array<int64_t>(GgufValueType::kI32, {-1, 2})));
  CHECK(keys.Insert("flags", Array<int64_t>(GgufValueType::kBool, {1, 0, 1})));
  CHECK(keys.Insert("u64s", Array<int64_t>(GgufValueType::kU64, {5, -1})));
  CHECK(keys.Insert("floats", Array<double>(GgufValueType::kF64, {0.25})));
  return keys;
}

template <typename T>
void CheckWrong(const absl::StatusOr<T>& result, absl::string_view words) {
  REQUIRE_FALSE(result.ok());
  CHECK(result.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK_MESSAGE(absl::StrContains(result.status().message(), words), result.status().message());
}

}  // namespace

TEST_CASE("readers give values of their kind, whatever the width") {
  const GgufMetadata keys = Sample();
  CHECK(*keys.GetUint("uint") == 7);
  CHECK(*keys.GetUint("int") == 8);
  CHECK(*keys.GetFloat("float") == 0.5);
  CHECK(*keys.GetFloat("uint") == 7.0);
  CHECK(*keys.GetFloat("negative") == -9.0);
  CHECK(*keys.GetString("text") == "hello");
  CHECK(*keys.GetBool("flag"));
  CHECK(*keys.GetBool("one"));
  CHECK(keys.GetStrings("words")->size() == 2);
  CHECK((*keys.GetInts("ints"))[0] == -1);
  CHECK(keys.GetInts("flags")->size() == 3);
  CHECK((*keys.GetFloats("floats"))[0] == 0.25);
}

TEST_CASE("a wrong type or range is refused with key and value") {
  const GgufMetadata keys = Sample();
  CheckWrong(keys.GetUint("negative"), "key 'negative' is -9 (i32), must be an integer of 0 or more");
  CheckWrong(keys.GetUint("float"), "key 'float' is 0.5 (f32)");
  CheckWrong(keys.GetUint("flag"), "key 'flag' is true (bool)");
  CheckWrong(keys.GetUint("text"), "key 'text' is 'hello' (string)");
  CheckWrong(keys.GetUint("ints"), "key 'ints' is 2 items (array of i32)");
  CheckWrong(keys.GetFloat("text"), "must be a number");
  CheckWrong(keys.GetBool("uint"), "key 'uint' is 7 (u32), must be a bool");
  CheckWrong(keys.GetBool("negative"), "key 'negative' is -9");
  CheckWrong(keys.GetString("uint"), "must be a string");
  CheckWrong(keys.GetStrings("text"), "must be an array of strings");
  CheckWrong(keys.GetInts("floats"), "must be an array of integers");
  CheckWrong(keys.GetFloats("ints"), "must be an array of floats");
  CheckWrong(keys.GetInts("u64s"), "item 1 is 18446744073709551615, must be at most 9223372036854775807");
}

TEST_CASE("an absent key is not found, or the fallback; a wrong one is an error either way") {
  const GgufMetadata keys = Sample();
  CHECK(absl::IsNotFound(keys.GetUint("none").status()));
  CHECK(keys.GetUint("none").status().message() == "key 'none' is missing");
  CHECK(absl::IsNotFound(keys.GetStrings("none").status()));
  CHECK(*keys.GetUintOr("none", 3) == 3);
  CHECK(*keys.GetUintOr("uint", 3) == 7);
  CHECK(*keys.GetFloatOr("none", 2.5) == 2.5);
  CHECK(*keys.GetBoolOr("none", true));
  CHECK(*keys.GetStringOr("none", "else") == "else");
  CheckWrong(keys.GetUintOr("text", 3), "key 'text'");
}

TEST_CASE("a key is inserted once and can be erased, and order stays that of the file") {
  GgufMetadata keys = Sample();
  const size_t count = keys.entries().size();
  CHECK_FALSE(keys.Insert("uint", Uint(8)));
  CHECK(*keys.GetUint("uint") == 7);
  keys.Erase("words");
  keys.Erase("never there");
  CHECK(keys.entries().size() == count - 1);
  CHECK_FALSE(keys.Has("words"));
  for (const auto& entry : keys.entries()) CHECK(keys.Find(entry.first) == &entry.second);
  CHECK(keys.entries().front().first == "uint");
  CHECK(keys.entries().back().first == "floats");
  CHECK(keys.Insert("words", Uint(1)));
}

TEST_CASE("an array's size does not depend on its element type") {
  CHECK(GgufArray{GgufValueType::kString, std::vector<std::string>{"a", "b"}}.size() == 2);
  CHECK(GgufArray{GgufValueType::kF32, std::vector<double>{1}}.size() == 1);
  CHECK(GgufArray{GgufValueType::kU8, std::vector<int64_t>{}}.size() == 0);
}

}  // namespace sluice
