// The inside of RecordLoader, for its own file.
#ifndef SLUICE_STORAGE_RECORD_LOADER_IMPL_H_
#define SLUICE_STORAGE_RECORD_LOADER_IMPL_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "storage/copy_chooser.h"
#include "storage/load_queue.h"
#include "storage/record_loader.h"

namespace sluice {

// Members without a guard are the I/O thread's alone.
class RecordLoader::Impl {
 public:
  Impl(std::unique_ptr<BlockReader> reader, std::vector<std::string> paths, std::vector<uint64_t> file_sizes,
       const Options& options);
  ~Impl();

  void Load(const LoadRequest& request, LoadPriority priority);
  void Discard(const LoadSink* sink);
  void OrderPrefetch(uint64_t token, bool hurry);
  void RegisterMemory(std::vector<absl::Span<uint8_t>> regions);
  IoCounters counters() const;
  const BlockReader& reader() const { return *reader_; }
  bool OnIoThread() const { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  static constexpr int kPriorities = 3;

  // A record whose chunks are being issued or read.
  struct Job {
    bool active = false;
    LoadRequest request;
    bool prefetch = false;
    size_t slice = 0;          // being cut; slices.size() when all is issued
    uint64_t cut_bytes = 0;    // of that slice's superset
    uint64_t slot_offset = 0;  // where the next chunk goes
    int chunks = 0;            // not yet finished
    absl::Status status;
  };
  struct Chunk {
    int job = 0;
    BlockRead read = {};
    uint64_t needed_end = 0;  // in the file; bytes beyond it are only alignment
    int retries = 0;
    int stalls = 0;
    bool prefetch = false;   // and nobody waits for it yet
    uint64_t cut_bytes = 0;  // as cut, from copy
    int copy = 0;
  };
  // What the consumer has to say about the prefetch under way.
  struct PrefetchOrder {
    uint64_t token = 0;
    bool hurry = false;
    bool abandon = false;
  };

  void Run();
  // Takes what other threads left; false when it is time to end.
  bool TakeNews();
  void ApplyOrder(const PrefetchOrder& order);
  bool Idle() const {
    MutexLock lock(&mutex_);
    return in_flight_ == 0;
  }
  bool NothingWaits() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Cuts chunks, best priority first, until `depth` are under way.
  void FillDepth();
  // The job to cut from, or -1 when nothing waits.
  int NextJob();
  int NextJobOf(int priority);
  int BeginNext(int priority);
  bool PopRequest(int priority, LoadRequest* request);
  // Why the load cannot be read at all; OK when it can.
  absl::Status Refusal(const LoadRequest& request) const;
  void CutChunk(int job_index);
  // Whether `file` is one of two copies.
  bool HasCopy(int file) const { return file < 2 * mirrors_; }
  // 1 when it is the second.
  int CopyOf(int file) const { return HasCopy(file) && file >= mirrors_ ? 1 : 0; }
  absl::Status SubmitIssued();

  void HandleCompletions(size_t count);
  void Handle(const BlockCompletion& completion);
  void HandleError(Chunk* chunk, int error);
  void HandleShort(Chunk* chunk, uint64_t got_bytes);
  void Resubmit(Chunk* chunk);
  void FinishChunk(Chunk* chunk, absl::Status status);
  void FinishJob(Job* job);
  absl::Status ReadError(const Chunk& chunk, int error) const;
  absl::Status EndsEarly(int file, uint64_t end, uint64_t needed_end) const;
  // The reader is broken: every load from now on fails with `status`.
  void Break(absl::Status status);
  // Counts what has been reaped, under one lock.
  void CountCompletions(size_t count);
  // Adds the time since the last call to what the drive was doing in it.
  void AccountTime() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Attribute(int64_t passed_ns, IoCounters* counters) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<BlockReader> reader_;
  const std::vector<std::string> paths_;
  const std::vector<uint64_t> file_sizes_;
  const uint32_t alignment_;
  const uint64_t chunk_bytes_;
  const int depth_;
  const int max_retries_;
  const int prefetch_depth_;
  const int mirrors_;  // the first files, whose copies follow: file + mirrors_

  std::vector<Chunk> chunks_;
  std::vector<int> free_chunks_;
  std::vector<int> issued_;  // to be submitted
  std::vector<Job> jobs_;
  std::array<int, kPriorities> cutting_;  // the job being cut at each priority, or -1
  std::vector<BlockRead> reads_;
  CopyChooser copies_;
  std::vector<BlockCompletion> completions_;
  int active_jobs_ = 0;
  bool hurried_ = false;  // the prefetch goes first
  bool ending_ = false;
  absl::Status broken_;
  uint64_t retries_made_ = 0;

  mutable Mutex mutex_;
  CondVar news_;  // only waited for when the reader is broken
  std::array<LoadQueue, kPriorities> queues_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool wake_sent_ ABSL_GUARDED_BY(mutex_) = false;
  PrefetchOrder order_ ABSL_GUARDED_BY(mutex_);
  bool regions_changed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<absl::Span<uint8_t>> regions_ ABSL_GUARDED_BY(mutex_);
  IoCounters counters_ ABSL_GUARDED_BY(mutex_);
  // Chunks; written by the I/O thread alone.
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  int prefetches_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // of them, guesses nobody waits for
  int64_t accounted_until_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_RECORD_LOADER_IMPL_H_
