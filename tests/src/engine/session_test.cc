#include "src/engine/session.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/scratch_folder.h"
#include "tests/storage/largest_allocation.h"
#include "tests/test_data.h"

namespace sluice {
namespace {

constexpr int kLayers = 3;
constexpr int64_t kWidth = 20;
constexpr int64_t kTokens = 70;  // two blocks and a part

const SessionIdentity kIdentity{0x1234, "portable", KvType::kF16, kLayers, kWidth};

std::vector<Session::Token> Tokens(int64_t given) {
  std::vector<Session::Token> tokens;
  for (int64_t i = 0; i < kTokens; ++i) tokens.push_back({static_cast<int32_t>(i * 3), i >= given});
  return tokens;
}
std::vector<int32_t> Ids(int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(i * 3));
  return ids;
}

KvCache MakeCache() {
  auto cache = KvCache::Create({KvType::kF16, kLayers, 1, 100, kWidth}, &BestKernelSet().ops);
  REQUIRE(cache.ok());
  return *std::move(cache);
}

std::vector<float> RowOf(int layer, int64_t position) {
  return std::vector<float>(kWidth, static_cast<float>(layer * 100 + position));
}

KvCache FilledCache() {
  KvCache cache = MakeCache();
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int64_t i = 0; i < kTokens; ++i) cache.Write(layer, 0, i, RowOf(layer, i).data());
  }
  return cache;
}

Session MustOpen(const std::string& path, const SessionIdentity& identity = kIdentity) {
  auto session = Session::Open(path, identity);
  REQUIRE_MESSAGE(session.ok(), session.status().ToString());
  return *std::move(session);
}

void SaveAt(const std::string& path, int64_t given = kTokens) {
  KvCache cache = FilledCache();
  REQUIRE(MustOpen(path).Save(Tokens(given), &cache).ok());
}

TEST_CASE("a session that is not there yet is empty, and nothing is left behind by looking") {
  const ScratchFolder folder;
  const Session session = MustOpen(folder.Path("s"));
  CHECK(session.tokens().empty());
  CHECK(session.CommonPrefix(Ids(5)) == 0);
  CHECK(folder.empty());
}

TEST_CASE("tokens, keys and values come back as they were saved") {
  const ScratchFolder folder;
  SaveAt(folder.Path("s"), 60);
  const Session session = MustOpen(folder.Path("s"));
  REQUIRE(session.tokens().size() == kTokens);
  CHECK(session.tokens()[59].id == 59 * 3);
  CHECK_FALSE(session.tokens()[59].generated);
  CHECK(session.tokens()[60].generated);
  for (int64_t positions : {int64_t{0}, int64_t{1}, int64_t{32}, int64_t{45}, kTokens}) {
    KvCache cache = MakeCache();
    REQUIRE(session.Restore(positions, &cache).ok());
    std::vector<float> got(kWidth);
    for (int layer = 0; layer < kLayers; ++layer) {
      for (int64_t i = 0; i < positions; ++i) {
        cache.Read(layer, 0, i, 1, got.data());
        REQUIRE(got == RowOf(layer, i));
      }
    }
  }
}

TEST_CASE("a prompt has in common what is the same and given, but never its last token") {
  const ScratchFolder folder;
  SaveAt(folder.Path("s"), 60);
  const Session session = MustOpen(folder.Path("s"));
  CHECK(session.CommonPrefix({}) == 0);
  CHECK(session.CommonPrefix(Ids(1)) == 0);
  CHECK(session.CommonPrefix(Ids(40)) == 39);
  CHECK(session.CommonPrefix(Ids(61)) == 60);
  CHECK(session.CommonPrefix(Ids(100)) == 60);  // the rest was generated
  std::vector<int32_t> other = Ids(50);
  other[20] = 1;
  CHECK(session.CommonPrefix(other) == 20);
}

TEST_CASE("a session made otherwise is refused with the cure, and kept") {
  const ScratchFolder folder;
  SaveAt(folder.Path("s"));
  const std::string before = ReadFileToString(folder.Path("s"));
  for (const SessionIdentity& other : {SessionIdentity{0x1235, "portable", KvType::kF16, kLayers, kWidth},
                                       SessionIdentity{0x1234, "avx2", KvType::kF16, kLayers, kWidth},
                                       SessionIdentity{0x1234, "portable", KvType::kQ8_0, kLayers, kWidth},
                                       SessionIdentity{0x1234, "portable", KvType::kF16, kLayers + 1, kWidth},
                                       SessionIdentity{0x1234, "portable", KvType::kF16, kLayers, kWidth + 1}}) {
    const absl::Status status = Session::Open(folder.Path("s"), other).status();
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(absl::StrContains(status.message(), "give another file"));
  }
  CHECK(ReadFileToString(folder.Path("s")) == before);
}

void Write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

TEST_CASE("a file cut short anywhere, or with a byte changed in its head, is refused") {
  const ScratchFolder folder;
  SaveAt(folder.Path("s"));
  const std::string sound = ReadFileToString(folder.Path("s"));
  for (size_t bytes = 0; bytes < sound.size(); bytes += bytes < 700 ? 1 : 1000) {
    Write(folder.Path("s"), sound.substr(0, bytes));
    REQUIRE_FALSE(Session::Open(folder.Path("s"), kIdentity).ok());
  }
  Write(folder.Path("s"), sound + "x");
  CHECK(absl::IsDataLoss(Session::Open(folder.Path("s"), kIdentity).status()));
  const size_t head_bytes = 96 + kTokens * 8 + 3 * 8;
  for (size_t i = 0; i < head_bytes; ++i) {
    std::string broken = sound;
    broken[i] = static_cast<char>(broken[i] ^ (1 << i % 8));
    Write(folder.Path("s"), broken);
    REQUIRE_FALSE(Session::Open(folder.Path("s"), kIdentity).ok());
  }
}

// Claims `tokens` and is as long as such a file would be, but takes no space.
void WriteSparse(const std::string& path, uint64_t tokens) {
  SaveAt(path);
  std::string head = ReadFileToString(path).substr(0, 96);
  std::memcpy(head.data() + 40, &tokens, sizeof(tokens));
  Write(path, head);
  const uint64_t blocks = (tokens + 31) / 32, page = 4096;
  const uint64_t data = (96 + tokens * 8 + blocks * 8 + page - 1) / page * page;
  std::filesystem::resize_file(path, data + kLayers * blocks * page);
}

TEST_CASE("no more of a file that claims to be long is read than it takes to see that it is another's") {
  if (!CountsAllocations()) return;
  const ScratchFolder folder;
  const std::string path = folder.Path("s");
  WriteSparse(path, 1 << 20);
  ResetLargestAllocation();
  const absl::Status own = Session::Open(path, kIdentity).status();
  CHECK(absl::StrContains(own.message(), "its header does not check"));
  CHECK(LargestAllocationBytes() > 8 << 20);
  ResetLargestAllocation();
  const absl::Status other = Session::Open(path, {1, "portable", KvType::kF16, kLayers, kWidth}).status();
  CHECK(absl::StrContains(other.message(), "was made with another model"));
  CHECK(LargestAllocationBytes() < 1 << 20);
  for (const uint64_t tokens : {(uint64_t{1} << 24) + 1, ~uint64_t{0}}) {
    SaveAt(folder.Path("t"));
    std::string bytes = ReadFileToString(folder.Path("t"));
    std::memcpy(bytes.data() + 40, &tokens, sizeof(tokens));
    Write(folder.Path("t"), bytes);
    CHECK(absl::StrContains(Session::Open(folder.Path("t"), kIdentity).status().message(), "makes no sense"));
    std::filesystem::remove(folder.Path("t"));
  }
}

TEST_CASE("keys and values that were changed are refused when they are needed") {
  const ScratchFolder folder;
  SaveAt(folder.Path("s"));
  std::string bytes = ReadFileToString(folder.Path("s"));
  bytes[bytes.size() - 4096 + 7] ^= 1;  // the last layer's last block
  Write(folder.Path("s"), bytes);
  const Session session = MustOpen(folder.Path("s"));
  KvCache cache = MakeCache();
  CHECK(session.Restore(64, &cache).ok());
  const absl::Status status = session.Restore(65, &cache);
  CHECK(absl::IsDataLoss(status));
  CHECK(absl::StrContains(status.message(), "from token 64 on"));
}

TEST_CASE("what is no session, or cannot become one, is refused and left as it is") {
  const ScratchFolder folder;
  const std::string text(200, 'x');
  Write(folder.Path("text"), text);
  CHECK(absl::IsFailedPrecondition(Session::Open(folder.Path("text"), kIdentity).status()));
  CHECK(ReadFileToString(folder.Path("text")) == text);
  CHECK_FALSE(Session::Open(folder.path(), kIdentity).ok());
  CHECK_FALSE(Session::Open(folder.Path("none/s"), kIdentity).ok());
}

}  // namespace
}  // namespace sluice
