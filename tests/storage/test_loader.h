// A RecordLoader over scratch files, with faults on demand, and sinks that count.
#ifndef SLUICE_TESTS_STORAGE_TEST_LOADER_H_
#define SLUICE_TESTS_STORAGE_TEST_LOADER_H_

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/mutex.h"
#include "storage/faulty_block_reader.h"
#include "storage/record_loader.h"
#include "tests/storage/scratch_files.h"

namespace sluice {

struct TestLoader {
  FaultyBlockReader* faults = nullptr;  // owned by the loader
  std::unique_ptr<RecordLoader> loader;
};

inline TestLoader StartFaultyLoader(const ScratchFiles& files, const FaultScript& script,
                                    const RecordLoader::Options& options, IoBackend backend = IoBackend::kPread) {
  TestLoader test;
  auto reader = std::make_unique<FaultyBlockReader>(OpenOrDie(backend, files.paths(), options.depth), script);
  test.faults = reader.get();
  test.loader = RecordLoader::Start(std::move(reader), files.paths(), files.sizes(), options);
  return test;
}

inline AlignedBuffer MakeSlot(const Record& record, uint32_t alignment) {
  auto slot = AlignedBuffer::Create(std::max<uint64_t>(SlotBytes(record, alignment), 1));
  REQUIRE(slot.ok());
  return *std::move(slot);
}

// True when every slice in the slot holds its bytes of the file.
inline bool HoldsRecord(const Record& record, const uint8_t* slot, uint32_t alignment) {
  for (size_t i = 0; i < record.slices.size(); ++i) {
    const Slice& slice = record.slices[i];
    const uint8_t* const data = slot + SliceOffsetInSlot(record, i, alignment);
    if (MatchingBytes(data, slice.file, slice.offset, slice.bytes) != slice.bytes) return false;
  }
  return true;
}

// Remembers every answer.
class CountingSink final : public LoadSink {
 public:
  void OnLoaded(uint64_t token, absl::Status status) override {
    MutexLock lock(&mutex_);
    ++answers_;
    ++count_by_token_[token];
    statuses_.insert_or_assign(token, std::move(status));
    news_.NotifyAll();
  }
  void Await(size_t answers) {
    MutexLock lock(&mutex_);
    while (answers_ < answers) news_.Wait(&mutex_);
  }
  size_t answers() const {
    MutexLock lock(&mutex_);
    return answers_;
  }
  int AnswersTo(uint64_t token) const {
    MutexLock lock(&mutex_);
    const auto found = count_by_token_.find(token);
    return found == count_by_token_.end() ? 0 : found->second;
  }
  absl::Status StatusOf(uint64_t token) const {
    MutexLock lock(&mutex_);
    const auto found = statuses_.find(token);
    return found == statuses_.end() ? absl::NotFoundError("no answer") : found->second;
  }

 private:
  mutable Mutex mutex_;
  CondVar news_;
  size_t answers_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, int> count_by_token_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, absl::Status> statuses_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace sluice

#endif  // SLUICE_TESTS_STORAGE_TEST_LOADER_H_
