// Writes a model's shape to disk: the header, then every tensor, with experts
// that are equal sharing their extents where the file system can do that.
#ifndef SLUICE_SRC_SYNTH_SYNTH_WRITER_H_
#define SLUICE_SRC_SYNTH_SYNTH_WRITER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/thread_pool.h"
#include "src/synth/synth_model.h"
#include "storage/file_writer.h"
#include "storage/gguf_writer.h"

namespace sluice {

// The bytes do not depend on whether extents are shared, nor on threads.
class SynthWriter {
 public:
  struct Cost {
    uint64_t file_bytes = 0;     // as readers see it
    uint64_t written_bytes = 0;  // what it takes on the drive
    bool shares_extents = false;
  };
  struct Hooks {
    const std::atomic<bool>* stop = nullptr;  // raised: Cancelled, and nothing is left behind
    std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress = [](uint64_t, uint64_t) {};
  };

  // Creates the file's beginning beside `path` and finds out what the whole will
  // cost. Refuses what the drive has no room for.
  static absl::StatusOr<SynthWriter> Open(SynthModel model, const std::string& path);

  const Cost& cost() const { return cost_; }
  size_t tensors() const { return model_.tensors.size(); }

  // Writes everything; the file has its name afterwards. Once.
  absl::Status Write(ThreadPool* threads, const Hooks& hooks);

 private:
  explicit SynthWriter(SynthModel model) : model_(std::move(model)) {}

  absl::Status CheckRoom() const;
  // The tensor whose bytes tensor `index` shares: the first of its stream.
  std::vector<size_t> FindFirsts() const;
  absl::Status WriteTensor(size_t index, ThreadPool* threads, const Hooks& hooks);

  SynthModel model_;
  GgufLayout layout_;
  std::vector<size_t> firsts_;
  FileWriter file_;
  Cost cost_;
  uint64_t done_bytes_ = 0;
  std::string batch_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_SYNTH_SYNTH_WRITER_H_
