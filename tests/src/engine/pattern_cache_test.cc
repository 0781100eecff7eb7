#include "src/engine/pattern_cache.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/scratch_folder.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

DriveProfile Chosen(uint32_t chunk_bytes, int depth) {
  DriveProfile profile;
  profile.chosen = {chunk_bytes, depth, 2e9, 100};
  return profile;
}

void Replace(const std::string& path, const std::string& from, const std::string& to) {
  std::string text = ReadFileToString(path);
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  std::ofstream(path, std::ios::binary) << text;
}

TEST_CASE("what is kept for a drive is found again, in a folder made for it, for this way of reading alone") {
  const ScratchFolder folder;
  const PatternCache cache(folder.path() + "/a/b");
  CHECK_FALSE(cache.Find(folder.path(), "uring").has_value());
  const auto file = cache.Keep(folder.path(), "uring", Chosen(4 << 20, 8));
  REQUIRE_MESSAGE(file.ok(), file.status().ToString());
  CHECK(std::filesystem::exists(*file));
  const auto found = cache.Find(folder.path(), "uring");
  REQUIRE(found.has_value());
  CHECK(found->chunk_bytes == 4 << 20);
  CHECK(found->depth == 8);
  CHECK(found->origin == "measured earlier");
  CHECK_FALSE(cache.Find(folder.path(), "pread").has_value());
  REQUIRE(cache.Keep(folder.path(), "uring", Chosen(1 << 20, 32)).ok());
  CHECK(cache.Find(folder.path(), "uring")->depth == 32);
}

TEST_CASE("damaged, foreign and senseless files are as good as none") {
  const ScratchFolder folder;
  const PatternCache cache(folder.path());
  const auto spoil = [&](const std::string& from, const std::string& to) {
    const auto file = cache.Keep(folder.path(), "uring", Chosen(1 << 20, 16));
    REQUIRE(file.ok());
    REQUIRE(cache.Find(folder.path(), "uring").has_value());
    Replace(*file, from, to);
    CAPTURE(to);
    CHECK_FALSE(cache.Find(folder.path(), "uring").has_value());
  };
  spoil("{", "");
  spoil("}", "");
  spoil("}", "}}");
  spoil("\"format\":1", "\"format\":2");
  spoil("\"drive\":\"", "\"drive\":\"0");
  spoil("\"uring\"", "\"pread\"");
  spoil("\"uring\"", "7");
  for (const char* depth : {"0", "-1", "33", "1.5", "\"16\"", "null", "18446744073709551615", "1e300"}) {
    spoil("\"depth\":16", std::string("\"depth\":") + depth);
  }
  for (const char* bytes : {"0", "4096", "1048577", "16777216", "4295032832", "18446744073709551615", "[]"}) {
    spoil("\"chunk_bytes\":1048576", std::string("\"chunk_bytes\":") + bytes);
  }
  spoil("\"depth\":16", "\"depth\":16,\"chunk_bytes\":8388608");  // 128 MiB in flight
  spoil("}", "}" + std::string(5000, ' '));
  spoil("{", std::string(4000, '['));
}

TEST_CASE("a folder that cannot be made is said, and a path that is not there") {
  const ScratchFolder folder;
  std::ofstream(folder.path() + "/file") << "x";
  CHECK_FALSE(PatternCache(folder.path() + "/file/sub").Keep(folder.path(), "uring", Chosen(1 << 20, 16)).ok());
  const PatternCache cache(folder.path());
  CHECK_FALSE(cache.Keep(folder.path() + "/none", "uring", Chosen(1 << 20, 16)).ok());
  CHECK_FALSE(cache.Find(folder.path() + "/none", "uring").has_value());
}

}  // namespace
}  // namespace sluice
