// Reads by a few threads that call pread: portable, and the reference.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <thread>

#include "base/check.h"
#include "base/mutex.h"
#include "storage/block_reader_backends.h"

namespace sluice {
namespace {

// More threads than this gain nothing at reads of a megabyte.
constexpr int kMaxThreads = 8;

// First in, first out, in memory allocated once.
template <typename T>
class FixedQueue {
 public:
  explicit FixedQueue(size_t capacity) : items_(capacity) {}
  size_t size() const { return size_; }
  void Push(const T& item) {
    SLUICE_CHECK(size_ < items_.size());
    items_[(head_ + size_++) % items_.size()] = item;
  }
  T Pop() {
    const T item = items_[head_];
    head_ = (head_ + 1) % items_.size();
    --size_;
    return item;
  }

 private:
  std::vector<T> items_;
  size_t head_ = 0;
  size_t size_ = 0;
};

class PreadReader final : public BlockReader {
 public:
  PreadReader(std::vector<DirectFile> files, int capacity)
      : files_(std::move(files)),
        direct_io_(AllDirect(files_)),
        alignment_bytes_(CommonAlignment(files_)),
        capacity_(capacity),
        waiting_(capacity),
        done_(capacity) {
    for (int i = 0; i < std::min(capacity, kMaxThreads); ++i) threads_.emplace_back([this] { Work(); });
  }
  ~PreadReader() override;

  absl::string_view name() const override { return "pread"; }
  bool direct_io() const override { return direct_io_; }
  uint32_t alignment_bytes() const override { return alignment_bytes_; }
  int capacity() const override { return capacity_; }
  absl::Status Submit(absl::Span<const BlockRead> reads) override;
  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override;
  void Wake() override;

 private:
  void Work();
  int32_t Read(const BlockRead& read) const;

  const std::vector<DirectFile> files_;
  const bool direct_io_;
  const uint32_t alignment_bytes_;
  const int capacity_;
  Mutex mutex_;
  CondVar work_;
  CondVar news_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  FixedQueue<BlockRead> waiting_ ABSL_GUARDED_BY(mutex_);
  FixedQueue<BlockCompletion> done_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

PreadReader::~PreadReader() {
  {
    MutexLock lock(&mutex_);
    closing_ = true;
    work_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status PreadReader::Submit(absl::Span<const BlockRead> reads) {
  MutexLock lock(&mutex_);
  for (const BlockRead& read : reads) {
    SLUICE_DCHECK(read.offset % alignment_bytes_ == 0 && read.bytes % alignment_bytes_ == 0);
    SLUICE_CHECK(read.bytes <= static_cast<uint32_t>(std::numeric_limits<int32_t>::max()));
    waiting_.Push(read);
    work_.NotifyOne();
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> PreadReader::Reap(absl::Span<BlockCompletion> out) {
  MutexLock lock(&mutex_);
  while (done_.size() == 0 && !woken_) news_.Wait(&mutex_);
  woken_ = false;
  size_t count = 0;
  while (count < out.size() && done_.size() > 0) out[count++] = done_.Pop();
  return count;
}

void PreadReader::Wake() {
  MutexLock lock(&mutex_);
  woken_ = true;
  news_.NotifyOne();
}

void PreadReader::Work() {
  for (;;) {
    BlockRead read;
    {
      MutexLock lock(&mutex_);
      while (waiting_.size() == 0 && !closing_) work_.Wait(&mutex_);
      if (closing_) return;
      read = waiting_.Pop();
    }
    const BlockCompletion completion{read.tag, Read(read)};
    MutexLock lock(&mutex_);
    done_.Push(completion);
    news_.NotifyOne();
  }
}

int32_t PreadReader::Read(const BlockRead& read) const {
  for (;;) {
    const ssize_t got = pread(files_[read.file].fd(), read.destination, read.bytes, static_cast<off_t>(read.offset));
    if (got >= 0) return static_cast<int32_t>(got);
    if (errno != EINTR) return -errno;
  }
}

}  // namespace

std::unique_ptr<BlockReader> MakePreadReader(std::vector<DirectFile> files, int capacity) {
  return std::make_unique<PreadReader>(std::move(files), capacity);
}

}  // namespace sluice
