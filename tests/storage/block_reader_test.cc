#include "storage/block_reader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "storage/direct_file.h"
#include "tests/storage/scratch_files.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = 1 << 20;

AlignedBuffer MakeBuffer(uint64_t bytes) {
  auto buffer = AlignedBuffer::Create(bytes);
  REQUIRE(buffer.ok());
  return *std::move(buffer);
}

std::vector<BlockCompletion> ReapAll(BlockReader* reader, size_t count) {
  std::vector<BlockCompletion> all;
  std::vector<BlockCompletion> some(3);
  while (all.size() < count) {
    const auto reaped = reader->Reap(absl::MakeSpan(some));
    REQUIRE(reaped.ok());
    all.insert(all.end(), some.begin(), some.begin() + static_cast<ptrdiff_t>(*reaped));
  }
  REQUIRE(all.size() == count);
  return all;
}

// Reads the whole of `file` in chunks, as many at once as the reader allows,
// and checks every byte.
void CheckWholeFile(BlockReader* reader, int file, uint64_t size) {
  const uint32_t chunk_bytes = static_cast<uint32_t>(AlignUp(100000, reader->alignment_bytes()));
  AlignedBuffer buffer = MakeBuffer(AlignUp(size, chunk_bytes) + chunk_bytes);
  std::vector<BlockRead> reads;
  for (uint64_t offset = 0; offset < size; offset += chunk_bytes) {
    reads.push_back({file, offset, chunk_bytes, buffer.data() + offset, 1000 + reads.size()});
  }
  const size_t capacity = static_cast<size_t>(reader->capacity());
  std::set<uint64_t> tags;
  for (size_t begin = 0; begin < reads.size(); begin += capacity) {
    const size_t count = std::min(capacity, reads.size() - begin);
    REQUIRE(reader->Submit(absl::MakeSpan(reads).subspan(begin, count)).ok());
    for (const BlockCompletion& completion : ReapAll(reader, count)) {
      CHECK(tags.insert(completion.tag).second);
      const BlockRead& read = reads[completion.tag - 1000];
      CHECK(completion.result == static_cast<int64_t>(std::min<uint64_t>(chunk_bytes, size - read.offset)));
    }
  }
  CHECK(MatchingBytes(buffer.data(), file, 0, size) == size);
}

TEST_CASE("every backend reads files of any length, also beyond their unaligned ends") {
  const ScratchFiles files({1, 31, 4096, kMiB + 777, 3 * kMiB + 32 * 5});
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    for (const int capacity : {1, 3, 16}) {
      auto reader = OpenOrDie(backend, files.paths(), capacity);
      CAPTURE(std::string(reader->name()));
      CHECK(reader->capacity() == capacity);
      CHECK(IsPowerOfTwo(reader->alignment_bytes()));
      for (size_t file = 0; file < files.sizes().size(); ++file) {
        CheckWholeFile(reader.get(), static_cast<int>(file), files.sizes()[file]);
      }
    }
  }
}

TEST_CASE("a reader made by one thread serves another as its owner") {
  const ScratchFiles files({kMiB});
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    auto reader = OpenOrDie(backend, files.paths(), 8);
    std::thread owner([&] { CheckWholeFile(reader.get(), 0, kMiB); });
    owner.join();
  }
}

TEST_CASE("a read that begins at the end of the file gives no bytes") {
  const ScratchFiles files({8192});
  AlignedBuffer buffer = MakeBuffer(4096);
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    auto reader = OpenOrDie(backend, files.paths(), 2);
    const BlockRead reads[] = {{0, 8192, 4096, buffer.data(), 1}};
    REQUIRE(reader->Submit(reads).ok());
    CHECK(ReapAll(reader.get(), 1)[0].result == 0);
  }
}

TEST_CASE("wake ends a blocked reap, and one before the call ends the next") {
  const ScratchFiles files({4096});
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    auto reader = OpenOrDie(backend, files.paths(), 4);
    CAPTURE(std::string(reader->name()));
    std::vector<BlockCompletion> out(4);
    std::atomic<int> ended{0};
    reader->Wake();  // before the owner's first call
    std::thread owner([&] {
      for (int round = 0; round < 100; ++round) {
        const auto count = reader->Reap(absl::MakeSpan(out));
        CHECK((count.ok() && *count == 0));
        ended.store(round + 1);
      }
    });
    for (int round = 1; round < 100; ++round) {
      while (ended.load() < round) std::this_thread::yield();
      reader->Wake();
    }
    owner.join();
    CHECK(ended.load() == 100);
  }
}

TEST_CASE("wakes among reads lose no completion") {
  const ScratchFiles files({kMiB});
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    auto reader = OpenOrDie(backend, files.paths(), 4);
    std::atomic<bool> stop{false};
    std::thread pest([&] {
      while (!stop.load()) reader->Wake(), std::this_thread::yield();
    });
    for (int round = 0; round < 5; ++round) CheckWholeFile(reader.get(), 0, kMiB);
    stop.store(true);
    pest.join();
  }
}

TEST_CASE("registered memory, other regions and none at all give the same bytes") {
  const ScratchFiles files({kMiB});
  AlignedBuffer first = MakeBuffer(kMiB);
  AlignedBuffer second = MakeBuffer(kMiB);
  const absl::Span<uint8_t> regions[] = {{second.data(), kMiB}, {first.data(), kMiB / 2}};
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    auto reader = OpenOrDie(backend, files.paths(), 4);
    for (const size_t registered : {2, 1, 0, 2}) {
      reader->RegisterMemory(absl::MakeSpan(regions).first(registered));
      std::fill_n(first.data(), kMiB, uint8_t{0});
      // The second read leaves the registered half: it must not be a fixed one.
      const BlockRead reads[] = {{0, 0, 65536, first.data() + 4096, 7},
                                 {0, 65536, 65536, first.data() + kMiB / 2 - 4096, 8},
                                 {0, 131072, 65536, second.data(), 9}};
      REQUIRE(reader->Submit(reads).ok());
      for (const BlockCompletion& completion : ReapAll(reader.get(), 3)) CHECK(completion.result == 65536);
      for (const BlockRead& read : reads) {
        CHECK(MatchingBytes(static_cast<uint8_t*>(read.destination), 0, read.offset, 65536) == 65536);
      }
    }
  }
}

TEST_CASE("only the mapping reader shows the files in place") {
  const ScratchFiles files({kMiB + 5, 0, 77});
  auto mapped = OpenOrDie(IoBackend::kMmap, files.paths(), 4);
  for (int file = 0; file < 3; ++file) {
    REQUIRE(mapped->Mapped(file) != nullptr);
    CHECK(MatchingBytes(mapped->Mapped(file), file, 0, files.sizes()[file]) == files.sizes()[file]);
  }
  CHECK_FALSE(mapped->direct_io());
  CHECK(OpenOrDie(IoBackend::kPread, files.paths(), 4)->Mapped(0) == nullptr);
}

TEST_CASE("files in memory file systems are read through the cache, and it is said so") {
  if (!std::filesystem::is_directory("/dev/shm")) {
    MESSAGE("SKIP: there is no /dev/shm");
    return;
  }
  const ScratchFiles files({kMiB + 13}, "/dev/shm");
  for (const IoBackend backend : WorkingBackends(files.paths())) {
    auto reader = OpenOrDie(backend, files.paths(), 4);
    CHECK_FALSE(reader->direct_io());
    CheckWholeFile(reader.get(), 0, kMiB + 13);
  }
}

TEST_CASE("a missing file and a folder are refused by name") {
  const ScratchFiles files({1});
  const std::string missing = files.paths()[0] + ".missing";
  const std::string folder = std::filesystem::path(files.paths()[0]).parent_path().string();
  for (const IoBackend backend : {IoBackend::kAuto, IoBackend::kUring, IoBackend::kPread, IoBackend::kMmap}) {
    const auto reader = OpenBlockReader(backend, {files.paths()[0], missing}, 4);
    CHECK(reader.status().message() == "cannot open " + missing + ": No such file or directory");
    const auto of_folder = OpenBlockReader(backend, {folder}, 4);
    CHECK(of_folder.status().message() == folder + " is a folder, not a file");
  }
}

TEST_CASE("auto always finds a way to read") {
  const ScratchFiles files({kMiB});
  auto reader = OpenOrDie(IoBackend::kAuto, files.paths(), 8);
  CHECK((reader->name() == "uring" || reader->name() == "pread"));
  CheckWholeFile(reader.get(), 0, kMiB);
}

}  // namespace
}  // namespace sluice
