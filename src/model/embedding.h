// Rows of the embedding table, read from the file when a sweep begins.
//
// The table is never resident: a row is a few KB and a sweep needs one per
// token. Keeps a small ring of read buffers.
#ifndef SLUICE_SRC_MODEL_EMBEDDING_H_
#define SLUICE_SRC_MODEL_EMBEDDING_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "base/arena.h"
#include "base/mutex.h"
#include "base/stop_flag.h"
#include "src/model/sweep.h"
#include "storage/gguf.h"
#include "storage/record_loader.h"

namespace sluice {

class Embedding : private LoadSink {
 public:
  // `stop` raised: Read waits no longer, however long the drive takes.
  Embedding(Arena* arena, const GgufTensor& table, uint32_t alignment, int64_t max_rows, const std::atomic<bool>* stop);
  // Waits for reads in flight.
  ~Embedding();

  // Writes the embedding of each row's token to out[row]; tokens must lie in
  // the vocabulary. Cancelled by the stop flag.
  absl::Status Read(absl::Span<const Row> rows, RecordLoader* loader, float* const* out);

 private:
  void OnLoaded(uint64_t token, absl::Status status) override;
  void Queue(absl::Span<const Row> rows, RecordLoader* loader);
  absl::Status AwaitAll();
  Slice RowSlice(int32_t token) const;
  absl::Status ReadBatch(absl::Span<const Row> rows, RecordLoader* loader, float* const* out);

  const GgufTensor& table_;
  uint32_t alignment_;
  uint64_t row_bytes_;
  uint64_t slot_bytes_;
  int64_t batch_rows_;
  uint8_t* slots_;
  StopFlag stop_;
  std::vector<Record> records_;

  Mutex mutex_;
  CondVar loaded_condition_;
  size_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_EMBEDDING_H_
