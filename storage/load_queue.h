// Loads that wait for the I/O thread: first in, first out.
//
// A ring that doubles when it is full and never shrinks, so that queueing
// allocates only while a run warms up. Not synchronised.
#ifndef SLUICE_STORAGE_LOAD_QUEUE_H_
#define SLUICE_STORAGE_LOAD_QUEUE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "storage/record.h"

namespace sluice {

class LoadSink;

struct LoadRequest {
  const Record* record = nullptr;
  uint8_t* slot = nullptr;
  LoadSink* sink = nullptr;
  uint64_t token = 0;
  bool discarded = false;
};

class LoadQueue {
 public:
  bool empty() const { return size_ == 0; }

  void Push(const LoadRequest& request) {
    if (size_ == ring_.size()) Grow();
    ring_[(head_ + size_++) % ring_.size()] = request;
  }

  LoadRequest Pop() {
    const LoadRequest request = ring_[head_];
    head_ = (head_ + 1) % ring_.size();
    --size_;
    return request;
  }

  void Discard(const LoadSink* sink) {
    for (size_t i = 0; i < size_; ++i) {
      LoadRequest& request = ring_[(head_ + i) % ring_.size()];
      if (request.sink == sink) request.discarded = true;
    }
  }

 private:
  void Grow() {
    std::vector<LoadRequest> larger(ring_.size() * 2);
    for (size_t i = 0; i < size_; ++i) larger[i] = ring_[(head_ + i) % ring_.size()];
    ring_ = std::move(larger);
    head_ = 0;
  }

  std::vector<LoadRequest> ring_ = std::vector<LoadRequest>(1024);
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_LOAD_QUEUE_H_
